"""The parent alone is killed twenty times: workers finish what they run and end, none is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import yaml
from faults.processes import MARK, processes, send, wait_until_gone
from mlflow_runs import ROOT
from optuna.trial import FrozenTrial
from sleeper import write_sleeper

from recsweep.run_files import JOURNAL, STDOUT
from recsweep.sweeps.storage.backends import open_storage

pytestmark = pytest.mark.slow

N_KILLS = {"trials": 16, "winner": 4}
N_WORKERS, N_TRIALS, N_SEEDS = 3, 150, 30
PATIENCE_S = 300.0


class Orphanage:
    """A sweep whose parent is killed again and again.

    Args:
        folder: Where it is typed.
        cache: For prepared data.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.place, self.mark = folder / "sweeps" / "orphans", str(folder)
        self.seconds: list[float] = []
        write_sleeper(folder)

    def start(self) -> subprocess.Popen[bytes]:
        """Type the command."""
        command = [
            sys.executable, "-m", "recsweep", "-m", "--config-dir=.", "model=sleeper",
            "data=synthetic", "data.n_users=120", "data.n_items=50", "k=[10]", "metrics=[ndcg]",
            "tracking=off", "sampler=random", "pruner=none", "study=orphans", "threads=1",
            f"sweep.n_workers={N_WORKERS}", f"sweep.n_trials={N_TRIALS}",
            f"sweep.final_seeds={N_SEEDS}", f"cache_dir={self.cache}",
        ]  # fmt: skip
        environment = {**os.environ, MARK: self.mark, "PYTHONPATH": str(ROOT)}
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def trials(self) -> list[FrozenTrial]:
        """What the study has so far."""
        if not (self.place / JOURNAL).exists():
            return []
        names = optuna.get_all_study_names(storage := open_storage(None, self.place))
        return optuna.load_study(study_name="orphans", storage=storage).trials if names else []

    def trainings(self) -> list[Path]:
        """Folders of the winner's trainings that were begun."""
        return sorted((self.place / "winner").glob("*/replicate-*"))

    def kill(self, parent: subprocess.Popen[bytes], n_begun: Callable[[], int], n: int) -> None:
        """Kill the parent once so many more were begun, and wait until its workers have ended."""
        before, end = n_begun(), time.monotonic() + PATIENCE_S
        while n_begun() < before + n:
            assert parent.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)
        time.sleep(random.random())  # noqa: S311 - anywhere in a trial
        parent.kill()
        parent.wait()
        n_then, at = n_begun(), time.monotonic()
        left = wait_until_gone(self.mark, PATIENCE_S)
        assert not left, f"{left}: {self.said()}"
        self.seconds.append(time.monotonic() - at)
        assert n_begun() <= n_then + N_WORKERS, "they ended after what they ran"

    def said(self) -> str:
        """The end of what all commands have printed."""
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-4000:]


@pytest.fixture
def orphanage(tmp_path: Path, cache: Path) -> Iterator[Orphanage]:
    made = Orphanage(tmp_path / "here", cache)
    yield made
    send(signal.SIGKILL, processes(made.mark))


def test_a_killed_parent_leaves_no_worker_and_loses_nothing(
    orphanage: Orphanage, capsys: pytest.CaptureFixture[str]
) -> None:
    for n_kills in range(N_KILLS["trials"]):
        orphanage.kill(orphanage.start(), lambda: len(orphanage.trials()), 1 + n_kills % 3)
        assert all(trial.state.is_finished() for trial in orphanage.trials())
    for _ in range(N_KILLS["winner"]):
        orphanage.kill(orphanage.start(), lambda: len(orphanage.trainings()), 1)
        assert all((folder / STDOUT).exists() for folder in orphanage.trainings())
    last = orphanage.start()
    assert last.wait(PATIENCE_S) == 0, orphanage.said()
    trials = orphanage.trials()
    assert [trial.number for trial in trials] == list(range(N_TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert not [trial for trial in trials if trial.user_attrs.get("n_deaths")], "none was lost"
    results = yaml.safe_load((orphanage.place / "results/optimization_results.yaml").read_text())
    assert results["test_scored"]["n_times"] == len(results["test"]["replicates"]) == N_SEEDS
    with capsys.disabled():
        slowest = max(orphanage.seconds)
        print(f"\n{len(orphanage.seconds)} kills of the parent alone; ", end="")  # noqa: T201
        print(f"all workers had ended {slowest:.1f} s later at most")  # noqa: T201
