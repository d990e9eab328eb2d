"""A model of the user's own whose trials take a second, in files of a folder."""

from pathlib import Path

MODEL = '''
"""Popular items first, after some epochs of doing nothing."""

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
            time.sleep(0.1)
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


def write_sleeper(folder: Path, epoch_s: float = 0.1) -> None:
    """Write it, for `--config-dir=. model=sleeper` in this folder.

    Args:
        folder: Where commands are typed.
        epoch_s: What each of its ten epochs sleeps.
    """
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "sleeper.yaml").write_text(YAML, encoding="utf-8")
    code = MODEL.replace("time.sleep(0.1)", f"time.sleep({epoch_s})")
    (folder / "sleeper.py").write_text(code, encoding="utf-8")
