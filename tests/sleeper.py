"""A model of the user's own whose trials take a second, in files of a folder."""

from pathlib import Path

MODEL = '''
"""Popular items first, after some epochs of doing nothing."""

import os
import time
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Sleeper:
    """Sleeps for ten epochs; `sign` is what is searched."""

    sign: float

    def fit(self, train: Any, on_epoch: Any, seeds: Any) -> None:
        self.counts = np.asarray(train.sum(axis=0)).ravel()
        for epoch in range(10):
            time.sleep(float(os.environ.get("EPOCH_S", "0.1")))
            if not on_epoch(epoch, {"loss": 1.0}):
                return

    def score(self, history: Any) -> Any:
        return np.tile(self.sign * self.counts, (history.shape[0], 1))

    def state(self) -> Any:
        return {"counts": self.counts}

    def restore(self, state: Any) -> None:
        self.counts = state["counts"]
'''
YAML = """# @package _global_
model:
  _target_: sleeper.Sleeper
  sign: 1.0
search:
  model.sign: interval(-1.0, 1.0)
"""


def write_sleeper(folder: Path) -> None:
    """Write it, for `--config-dir=. model=sleeper` in this folder.

    The variable EPOCH_S says how many seconds each of its ten epochs sleeps, .1 by default: in the
    code, which belongs to the study, it would be the same for all commands.

    Args:
        folder: Where commands are typed.
    """
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "sleeper.yaml").write_text(YAML, encoding="utf-8")
    (folder / "sleeper.py").write_text(MODEL, encoding="utf-8")
