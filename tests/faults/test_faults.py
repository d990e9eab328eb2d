"""Sweeps under fire: whatever dies at whatever moment, the same command brings them to their end.

Moments and victims are drawn from a seed; RECSWEEP_FAULT_SEED=7 draws others. Between which two
instructions a process dies is up to the machine.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from faults.audit import audit
from faults.storm import Strike, Sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's, of SQLAlchemy
]

SEED = int(os.environ.get("RECSWEEP_FAULT_SEED", "1"))
N_KILLS = 40
MOMENTS = ("import", "claim", "write", "tracking", "training")
KILLS = ("kill a worker", "kill all workers", "kill the parent", "kill all")
N_EACH = (3, 3, 1, 1)
GENTLE = ("Ctrl-C", "pause a worker", "Ctrl-C twice", "pause the parent", "Ctrl-C", "Ctrl-C twice")
AT_THE_END = [
    Strike("winner", "kill all workers"), Strike("winner", "kill the parent"),
    Strike("winner", "kill all"), Strike("scored", "kill the parent"),
    Strike("scored", "kill all"), Strike("scored", "kill all workers"),
]  # fmt: skip
SWEEPS = {  # trials and workers
    "one-worker": (6, 1),
    "two-workers": (9, 2),
    "three-workers": (10, 3),
    "medians": (9, 2),
    "sqlite": (8, 2),
    "postgres": (8, 2),
}
PRUNED = ("pruner.min_epochs=3", "pruner.reduction_factor=2")
IN_THE_GATE = {"two-workers", "short-slots"}
N_SWEEPS = len(SWEEPS) + 5
"""Those that are counted: two of one worker, three of trials side by side."""


def strikes_of(sweep: int) -> list[Strike]:
    """Every kill at every moment, dealt to the sweeps, and to each a gentle strike and an end."""
    chance = _chance("deck")
    kills = [kill for kill, n in zip(KILLS, N_EACH, strict=True) for _ in range(n)]
    deck = [Strike(moment, kill) for moment in MOMENTS for kill in kills]
    chance.shuffle(deck)
    hand = deck[sweep :: len(SWEEPS)]
    chance = _chance(f"hand {sweep}")
    gentle = Strike(chance.choice(MOMENTS[1:]), GENTLE[sweep])
    places = [i for i, strike in enumerate(hand) if strike.moment != "import"]  # nothing starts
    hand.insert(chance.choice(places), gentle)
    return [*hand, AT_THE_END[sweep]]


def _chance(purpose: str) -> random.Random:
    return random.Random(f"{SEED} {purpose}")  # noqa: S311 - no secret


def each(sweeps: Iterable[str]) -> list[Any]:
    """Sweeps as parameters of a test."""
    marks = {name: [pytest.mark.gate] if name in IN_THE_GATE else [] for name in sweeps}
    return [pytest.param(name, marks=of_it) for name, of_it in marks.items()]


@pytest.fixture
def tell(
    capsys: pytest.CaptureFixture[str], totals: Counter[str]
) -> Callable[[Sweep, Counter[str]], None]:
    """Print a sweep's counts and add them to the totals."""

    def tell(sweep: Sweep, found: Counter[str]) -> None:
        totals.update(found)
        totals.update({"sweeps": 1, "kills": sweep.n_kills, "commands": sweep.n_starts})
        for strike, n in sweep.done.items():
            totals.update({f"{strike.what}": n, f"at {strike.moment}": n})
        with capsys.disabled():
            print(f"\n{sweep.study}: {sweep.n_kills} kills, {sweep.n_starts} commands,", end=" ")  # noqa: T201
            print(", ".join(f"{n} {what}" for what, n in found.items()))  # noqa: T201

    return tell


@pytest.mark.parametrize("name", each(SWEEPS))
def test_a_sweep_under_fire_loses_nothing(
    name: str, tmp_path: Path, cache: Path, request: pytest.FixtureRequest, tell: Any
) -> None:
    number = list(SWEEPS).index(name)
    urls = {
        "sqlite": lambda: f"sqlite:///{tmp_path}/studies.db",
        "postgres": lambda: request.getfixturevalue("postgres"),
    }
    url = urls[name]() if name in urls else None
    pruned = ("pruner=median",) if name == "medians" else PRUNED
    n_trials, n_workers = SWEEPS[name]
    arguments = (f"sweep.n_workers={n_workers}", "model.n_epochs=25", *pruned)
    sweep = Sweep(tmp_path / name, name, n_trials, arguments, url, cache, _chance(name))
    sweep.run(strikes_of(number))
    tell(sweep, audit(sweep))


ALONE = (
    "sweep.n_workers=1", "model.n_epochs=20", "sampler.n_startup_trials=3",
    *PRUNED,
)  # fmt: skip


def test_one_worker_killed_and_resumed_makes_the_trials_of_an_uninterrupted_sweep(
    tmp_path: Path, cache: Path, tell: Any
) -> None:
    chance = _chance("alone")
    calm, struck = (
        Sweep(tmp_path / name, "alone", 12, ALONE, None, cache, chance)
        for name in ("calm", "struck")
    )
    calm.run()
    kills = chance.choices(["kill all workers", "kill all"], k=6)
    moments = chance.choices(MOMENTS, k=6)
    struck.run([*map(Strike, moments, kills), Strike("training", "Ctrl-C")])
    expected, found = history(calm), history(struck)
    assert found == expected
    assert any(trial["state"] == "PRUNED" for trial in expected)
    tell(calm, audit(calm))
    tell(struck, audit(struck))


SLOTS = {"short-slots": (8, 4), "slots": (60, 20)}
"""Trials and kills of sweeps of two workers, each of which trains four trials at a time."""
SIDE_BY_SIDE = ("model.n_epochs=25", "sweep.slots=4")


@pytest.mark.parametrize("name", each(SLOTS))
def test_trials_side_by_side_under_fire_are_not_lost(
    name: str, tmp_path: Path, cache: Path, tell: Any
) -> None:
    (n_trials, n_kills), chance = SLOTS[name], _chance(name)
    kills = chance.choices(["kill a worker", "kill all workers"], k=n_kills)
    moments = [*chance.choices(MOMENTS, k=n_kills - 1), "winner"]
    arguments = ("sweep.n_workers=2", *SIDE_BY_SIDE, *PRUNED)
    sweep = Sweep(tmp_path / name, name, n_trials, arguments, None, cache, chance)
    sweep.run([*map(Strike, moments, kills)])
    found = audit(sweep)
    assert sweep.n_kills == n_kills
    assert found["shared_deaths"] > 0
    tell(sweep, found)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Sweep:
    """A sweep of trials side by side that nobody disturbs."""
    sweep = _side_by_side(tmp_path_factory.mktemp("calm"), cache)
    sweep.run()
    return sweep


def _side_by_side(folder: Path, cache: Path, *arguments: str) -> Sweep:
    """The same trials in whatever order they end."""
    own = (*SIDE_BY_SIDE, "sampler=random", "pruner=none", *arguments)
    return Sweep(folder / "here", "side-by-side", 10, own, None, cache, _chance("side by side"))


def test_trials_side_by_side_are_the_same_after_kills_and_ctrl_c(
    tmp_path: Path, cache: Path, calm: Sweep, tell: Any
) -> None:
    struck = _side_by_side(tmp_path, cache)
    strikes = ["Ctrl-C", "kill all workers", "Ctrl-C twice", "kill all", "Ctrl-C"]
    struck.run([Strike("training", what) for what in strikes])
    assert history(struck) == history(calm)
    tell(struck, audit(struck))


@pytest.mark.parametrize("n_times", [1, 2])
def test_ctrl_c_in_a_sweep_of_one_process_ends_all_its_trials_within_an_epoch(
    n_times: int, tmp_path: Path, cache: Path, calm: Sweep
) -> None:
    sweep = _side_by_side(tmp_path, cache, "hydra/launcher=basic")
    sweep._start()
    assert sweep._until(lambda: sweep._n_begun() > 4)
    began = time.monotonic()
    assert sweep._interrupt(n_times) == 1, "it had ended"
    assert time.monotonic() - began < STOPS_IN_S
    assert not sweep._is_done()
    with sweep.loaded() as study:
        left = [trial for trial in study.get_trials() if not trial.state.is_finished()]
    assert 0 < len(left) <= 4
    assert all(trial.user_attrs["is_interrupted"] for trial in left)
    sweep.run()
    assert not {"retries", "shared_deaths"} & (+audit(sweep)).keys()
    assert history(sweep) == history(calm)


STOPS_IN_S = 20.0
"""An epoch takes milliseconds; the rest is for the tracker and a slow machine."""


def history(sweep: Sweep) -> list[dict[str, Any]]:
    """All that does not depend on time and place."""
    kept = ("settings", "best_epoch", "n_epochs", "metrics", "reason", "is_default")
    with sweep.loaded() as study:
        trials = study.get_trials()
    return [
        {
            "number": trial.number,
            "params": trial.params,
            "distributions": trial.distributions,
            "values": trial.values,
            "state": trial.state.name,
            "reported": trial.intermediate_values,
            **{name: trial.user_attrs.get(name) for name in kept},
        }
        for trial in trials
    ]


def test_at_least_forty_kills_were_survived(
    totals: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if totals["sweeps"] < N_SWEEPS:
        pytest.skip("only part of the sweeps ran")
    with capsys.disabled():
        print("\nin all:", ", ".join(f"{n} {what}" for what, n in totals.items()))  # noqa: T201
    assert totals["kills"] >= N_KILLS
