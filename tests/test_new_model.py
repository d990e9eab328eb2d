"""A model of one's own is one Python file and one YAML: nothing else is told about it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import contracts
import numpy as np
import pytest
import yaml
from commands import run_command

from recsweep.data.split import Split
from recsweep.persistence import load_model

ROOT = Path(__file__).resolve().parent.parent

PYTHON = '''
"""Items are scored by how often they were clicked together with the history's."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import CSR, STRICT, OnEpoch, State
from recsweep.seeds import Seeds


@dataclass(kw_only=True, config=STRICT)
class ClickedTogether:
    """Each item's row of counts, divided by their sum to the power of `alpha`."""

    alpha: Annotated[float, Field(ge=0, le=1)]

    def __post_init__(self) -> None:
        self._weights: np.ndarray | None = None

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        counts = (train.T @ train).toarray()
        np.fill_diagonal(counts, 0)
        self._weights = counts / np.maximum(counts.sum(axis=0), 1) ** np.float32(self.alpha)
        on_epoch(0, {})

    def score(self, history: CSR) -> Any:
        return history @ self.state()["weights"]

    def state(self) -> State:
        if self._weights is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return {"weights": self._weights}

    def restore(self, state: State) -> None:
        self._weights = state["weights"]
'''
YAML = """# @package _global_
model:
  _target_: clicked_together.ClickedTogether
  alpha: 0.5                # 0 = counts alone; 1 = popular items gain nothing

search:
  model.alpha: interval(0.0, 1.0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The two files, where the user works."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "clicked_together.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "clicked_together.py").write_text(PYTHON, encoding="utf-8")
    return tmp_path


def recsweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "recsweep", "--config-dir=.", "model=clicked_together",
            "data=synthetic", "data.n_users=200", "data.n_items=50", "k=[10]", "tracking=off",
            f"cache_dir={folder}/cache", "hydra.run.dir=run", *arguments,
        ],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_is_trained_scored_and_kept_by_the_command_line(folder: Path) -> None:
    done = recsweep(folder, "model.alpha=0.25")
    assert done.returncode == 0, done.stderr
    results = folder / "run" / "results"
    metrics = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    assert "best epoch 1 of 1" in done.stdout
    assert "ndcg@10" in json.dumps(metrics)
    spec = yaml.safe_load((results / "model" / "model.yaml").read_text(encoding="utf-8"))
    assert spec == {"_target_": "clicked_together.ClickedTogether", "alpha": 0.25}


def test_its_settings_are_checked_before_any_data_is_read(folder: Path) -> None:
    wrong = recsweep(folder, "model.alpha=2")
    assert wrong.returncode == 1
    assert wrong.stderr == (
        "error: model.alpha must be at least 0 and at most 1, but is 2; change model.alpha\n"
    )
    assert not (folder / "cache").exists()


@pytest.mark.slow
def test_an_edit_is_noticed_by_its_study_and_by_its_repeat(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    line = (
        "model=clicked_together data=synthetic data.n_users=200 data.n_items=50 k=[10] tracking=off"
    )
    search = f"--config-dir={folder} -m hydra/launcher=basic {line} study=mine"
    begun = run_command(folder, f"{search} sweep.n_trials=2")
    assert begun.code == 0, begun.err
    assert run_command(folder, f"--config-dir={folder} {line} hydra.run.dir=run").code == 0
    repeat = "task=reproduce task.run=run/results tracking=off trust=[clicked_together]"
    same = run_command(folder, repeat)
    assert "nothing differs: metrics must be identical\n" in same.out

    file = folder / "clicked_together.py"
    file.write_text(PYTHON.replace("counts / ", "-counts / "), encoding="utf-8")
    refused = run_command(folder, f"{search} sweep.n_trials=4")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "the code of clicked_together.ClickedTogether changed;" in refused.err
    other = run_command(folder, repeat)
    assert other.code == 1
    (line,) = (each for each in other.out.splitlines() if each.startswith("differs "))
    assert re.fullmatch(
        r"differs   code of clicked_together\.ClickedTogether: \w{16} → \w{16}", line
    )
    assert "since code of clicked_together.ClickedTogether may change them\n" in other.out

    file.write_text(PYTHON, encoding="utf-8")  # back as it was
    assert run_command(folder, f"{search} sweep.n_trials=4").code == 0
    sys.modules.pop("clicked_together", None)


@pytest.fixture
def split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Split]:
    monkeypatch.syspath_prepend(folder)
    yield contracts.planted_split()
    sys.modules.pop("clicked_together", None)


def test_the_contracts_of_every_model_hold_for_it(split: Split, folder: Path) -> None:
    spec = yaml.safe_load(YAML)["model"]
    model = contracts.fitted(spec, split.train)
    contracts.assert_scores_are_finite_and_of_the_right_shape(model, split.valid.history)
    contracts.assert_a_users_scores_do_not_depend_on_the_batch(model, split.valid.history)
    contracts.assert_the_same_seed_gives_the_same_scores(spec, split)
    contracts.assert_inputs_are_untouched(spec, split)
    contracts.assert_a_planted_pattern_is_learned(model, split, least=2.0)
    contracts.assert_it_stops_when_told_to(spec, split.train)
    contracts.assert_scoring_before_fitting_is_refused(spec, split.train)
    contracts.assert_saved_and_restored_scores_are_the_same(model, spec, split, folder / "saved")
    restored, _ = load_model(folder / "saved", ["clicked_together"])
    np.testing.assert_array_equal(restored.state()["weights"], model.state()["weights"])
