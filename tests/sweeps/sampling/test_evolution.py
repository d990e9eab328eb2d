"""CMA-ES's state follows from finished trials; nothing that a study has stored is unpickled."""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cmaes
import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.storages.journal._base import BaseJournalSnapshot
from optuna.trial import FrozenTrial, create_trial

from recsweep.sweeps.sampling.evolution import ReplayedCmaEs
from recsweep.sweeps.storage.backends import open_storage
from recsweep.sweeps.storage.journal import Journal

SPACE = {
    "a": FloatDistribution(0.0, 1.0),
    "b": FloatDistribution(1e-4, 1.0, log=True),
    "n": IntDistribution(1, 4),  # whose ends are as likely as what lies between
}
POPULATION = 6
State = tuple[int, float, list[float], list[list[float]]]


@dataclass
class Malice:
    """Writes a file when it is unpickled."""

    file: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.file, "run"))


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[State]]:
    """The state of every optimizer that is asked: generation, step size, mean and covariance."""
    found: list[State] = []
    ask = cmaes.CMA.ask

    def watched(optimizer: cmaes.CMA) -> np.ndarray:
        covariance = (optimizer._C * optimizer._sigma**2).tolist()
        found.append((optimizer.generation, optimizer._sigma, optimizer._mean.tolist(), covariance))
        return ask(optimizer)

    monkeypatch.setattr(cmaes.CMA, "ask", watched)
    return found


@contextmanager
def silence() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def value(params: dict[str, float]) -> float:
    return -((params["a"] - 0.3) ** 2) - abs(np.log10(params["b"]) + 2) / 9


def asked(study: optuna.Study, sampler: BaseSampler) -> optuna.Trial:
    study.sampler = sampler
    return study.ask(SPACE)


def searched(sampler: type[CmaEsSampler], n_trials: int, direction: str = "maximize") -> Any:
    """A study by one worker, with a new sampler for every trial."""
    with silence():
        study = optuna.create_study(direction=direction)
        for number in range(n_trials):
            trial = asked(study, sampler(seed=number, popsize=POPULATION))
            sign = 1 if direction == "maximize" else -1
            study.tell(trial, sign * value(trial.params))
    return study


def told(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_is_replayed_is_what_optuna_pickles(states: list[State], direction: str) -> None:
    study = searched(CmaEsSampler, 27, direction)
    pickled = states[-1]
    assert pickled[0] == 4
    for each in told(study):
        stored = {k: v for k, v in each.system_attrs.items() if k == "cma:generation"}
        each.system_attrs = stored
    asked(study, ReplayedCmaEs(seed=27, popsize=POPULATION))
    for replayed, one in zip(states[-1], pickled, strict=True):  # which kept one triangle only
        np.testing.assert_allclose(replayed, one, rtol=1e-12)


def test_the_first_generation_is_optunas_own() -> None:
    ours, theirs = (told(searched(sampler, 7)) for sampler in (ReplayedCmaEs, CmaEsSampler))
    assert [trial.params for trial in ours] == [trial.params for trial in theirs]


@pytest.mark.parametrize(("n_startup_trials", "is_of_a_generation"), [(2, True), (3, False)])
def test_a_generation_begins_after_the_first_trials(
    n_startup_trials: int, is_of_a_generation: bool
) -> None:
    study = searched(ReplayedCmaEs, 2)
    sampler = ReplayedCmaEs(seed=9, popsize=POPULATION, n_startup_trials=n_startup_trials)
    asked(study, sampler)
    assert ("cma:generation" in told(study)[-1].system_attrs) is is_of_a_generation


def test_only_the_generation_is_stored() -> None:
    trials = told(searched(ReplayedCmaEs, 20))
    kept = [trial.system_attrs for trial in trials]
    expected = [0] * POPULATION + [1] * POPULATION + [2] * POPULATION
    assert kept[0] == {}
    assert kept[1:19] == [{"cma:generation": n} for n in expected]


def test_a_slow_trial_changes_nothing_that_was_learnt_before(states: list[State]) -> None:
    study = searched(ReplayedCmaEs, 1)
    trials = [asked(study, ReplayedCmaEs(seed=n, popsize=POPULATION)) for n in range(1, 9)]
    slow, *others = trials
    for trial in others:
        study.tell(trial, value(trial.params))
    asked(study, ReplayedCmaEs(seed=9, popsize=POPULATION))
    before = states[-1]
    study.tell(slow, 100.0)
    asked(study, ReplayedCmaEs(seed=9, popsize=POPULATION))
    assert states[-1] == before
    assert before[0] == 1


@pytest.mark.parametrize("generation", ["0", [0], {}, None, 1e9])
def test_a_generation_that_is_none_is_ignored(generation: Any, states: list[State]) -> None:
    study = searched(ReplayedCmaEs, 6)
    for trial in told(study):
        trial.system_attrs = {"cma:generation": generation}
    trial = asked(study, ReplayedCmaEs(seed=9, popsize=POPULATION))
    assert states[-1][0] == 0
    assert 0 <= trial.params["a"] <= 1


# --- attacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [None, "sqlite:///{}/study.db"], ids=["journal", "sqlite"])
@pytest.mark.parametrize("sampler", [CmaEsSampler, ReplayedCmaEs])
def test_no_pickle_of_a_study_is_read(
    sampler: type[CmaEsSampler], url: str | None, tmp_path: Path
) -> None:
    """Optuna's own sampler reads it, which shows that the attack works."""
    storage = open_storage(url and url.format(tmp_path), tmp_path)
    victim = tmp_path / "file"
    with silence():
        study = optuna.create_study(storage=storage, direction="maximize")
        study.add_trial(create_trial(
            params={"a": 0.5, "b": 0.01, "n": 2}, distributions=SPACE, value=1.0,
            system_attrs={"cma:optimizer:0": pickle.dumps(Malice(victim)).hex()},
        ))  # fmt: skip
        if sampler is CmaEsSampler:
            with pytest.raises(AttributeError):
                asked(study, sampler(seed=0))
            assert victim.read_text() == "run"
        else:
            assert 0 <= asked(study, sampler(seed=0)).params["a"] <= 1
            assert not victim.exists()


def test_optuna_unpickles_nowhere_else() -> None:
    """A newer Optuna that does is noticed; a journal has no snapshots, and is none."""
    package = Path(optuna.__file__).parent
    reading = re.compile(r"pickle\.loads?\(|PickleType|Unpickler|torch\.load|allow_pickle=True")
    found = {
        str(file.relative_to(package))
        for part in ("samplers", "pruners", "storages", "study", "trial", "search_space", "_gp")
        for file in (package / part).rglob("*.py")
        if reading.search(file.read_text(encoding="utf-8"))
    }
    assert found == {"samplers/_cmaes.py", "storages/journal/_storage.py"}
    assert not issubclass(Journal, BaseJournalSnapshot)
