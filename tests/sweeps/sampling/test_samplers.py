"""Proposals depend on seed, number and history alone; every sampler searches what it takes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from scipy.stats import qmc

from recsweep.build import build
from recsweep.defaults import conf_folder
from recsweep.errors import InputError
from recsweep.seeds import Seeds
from recsweep.sweeps.sampling import samplers
from recsweep.sweeps.sampling.samplers import MAX_GRID_POINTS, Sampler, Turn, propose
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import dimension
from recsweep.sweeps.space.space import Space

MODEL = (
    "model.beta=interval(0.0,1.0)",
    "model.l2=tag(log,interval(1e-8,1e-3))",
    "model.latent_dim=choice(50,100,200,400)",
    "model.n_layers=int(interval(1,4))",
    "model.dropout_rate=range(0.1,0.9,0.1)",
)
FREE = ["tpe", "random", "qmc", "cmaes"]


def branch(choices: dict[str, str], *lines: str, **own: Any) -> Branch:
    dimensions = {found.name: found for found in map(dimension, lines)}
    return Branch(choices, {"model": own}, dimensions)


FLAT = Space((branch({}, *MODEL),))
CONDITIONAL = Space(
    (
        branch({"optimizer": "adam"}, *MODEL),
        branch({"optimizer": "sgd"}, *MODEL, "optimizer.momentum=interval(0.0,0.9)"),
    )
)
FINITE = Space(
    (
        branch({"optimizer": "adam"}, "model.a=1,[2,3],null", "model.b=range(0.1,0.4,0.1)"),
        branch({"optimizer": "sgd"}, "model.n=int(interval(1,4))"),
    )
)
EMPTY = Space((branch({}),))
OF_TWO_RANGES = Space(
    tuple(
        Branch(
            {"optimizer": name},
            {"model": {}},
            {
                "model.beta": dimension("model.beta=interval(0.0,1.0)"),
                "model.lr": replace(
                    dimension("model.lr=interval(0.0,1.0)"), name=f"model.lr[{name}]"
                ),
            },
        )
        for name in ("adam", "sgd")
    )
)


def sampler(name: str, **changes: Any) -> Sampler:
    text = (conf_folder() / "sampler" / f"{name}.yaml").read_text(encoding="utf-8")
    made: Sampler = build({**yaml.safe_load(text), **changes}, "sampler")
    return made


def proposed(
    by: str | Sampler,
    space: Space,
    trials: Sequence[FrozenTrial],
    seed: int = 0,
    directions: Sequence[str] = ("maximize",),
    enqueue_default: bool = False,
) -> FrozenTrial:
    made = sampler(by) if isinstance(by, str) else by
    trial = propose(made, space, trials, directions, seed, enqueue_default)
    assert trial is not None
    return trial


def value(params: dict[str, Any]) -> float:
    """Best at beta = .3 and a latent size of 200."""
    n_latent: int = params.get("model.latent_dim", 200)
    beta: float = params.get("model.beta", 0.3)
    return -((beta - 0.3) ** 2) - abs(n_latent - 200) / 1000


def swept(
    name: str, space: Space, n_trials: int, seed: int = 0, states: Iterable[str] = ()
) -> list[FrozenTrial]:
    """The trials of a sweep by one worker; the first ones end as told."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    told = dict(enumerate(states))
    for number in range(n_trials):
        trial = propose(sampler(name), space, study.get_trials(), ["maximize"], seed, False)
        if trial is None:
            break
        study.add_trial(trial)
        finish(study, number, TrialState[told.get(number, "COMPLETE")])
    return study.get_trials()


def finish(study: optuna.Study, number: int, state: TrialState) -> None:
    params = study.get_trials()[number].params
    if state == TrialState.PRUNED:
        Trial(study, study.get_trials()[number]._trial_id).report(value(params), 1)
    if state != TrialState.RUNNING:
        study.tell(number, value(params) if state == TrialState.COMPLETE else None, state=state)


def params_of(trials: Iterable[FrozenTrial]) -> list[dict[str, Any]]:
    return [trial.params for trial in trials]


def all_sweeps() -> str:
    """What every sampler proposed, exact to the last bit."""
    found = {
        f"{name}, {len(space.branches)}": params_of(swept(name, space, 15, 5, ["FAIL", "RUNNING"]))
        for name in [*FREE, "grid", *(["gp"] if find_spec("torch") else [])]
        for space in ([FINITE] if name == "grid" else [FLAT, CONDITIONAL])
        if not (name in {"cmaes", "gp"} and space is CONDITIONAL)
    }
    return json.dumps(found)


@pytest.mark.parametrize("name", sorted(f.stem for f in (conf_folder() / "sampler").glob("*.yaml")))
def test_every_choice_builds(name: str) -> None:
    assert isinstance(sampler(name), Sampler)


@pytest.mark.extended
def test_another_process_proposes_the_same() -> None:
    here = Path(__file__).parent
    code = f"import sys; sys.path[:0] = {[str(here), str(here.parents[1])]!r}\n"
    code += "import test_samplers; print(test_samplers.all_sweeps())"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert other.stderr == ""
    assert other.stdout.strip() == all_sweeps()


@pytest.mark.parametrize("name", FREE)
def test_what_happened_in_between_does_not_matter(name: str) -> None:
    history = swept(name, FLAT, 14)
    first = proposed(name, FLAT, history)
    swept(name, FLAT, 3, seed=9)
    np.random.seed(1)  # noqa: NPY002 - Optuna's generation
    second = proposed(name, FLAT, history)
    assert (first.params, first.system_attrs) == (second.params, second.system_attrs)
    assert first.number == len(history) == 14
    assert first.state == TrialState.RUNNING


@pytest.mark.parametrize("name", [*FREE, "grid"])
def test_another_seed_proposes_something_else(name: str) -> None:
    space = FINITE if name == "grid" else FLAT
    assert params_of(swept(name, space, 5, seed=0)) != params_of(swept(name, space, 5, seed=1))


@pytest.mark.parametrize("name", FREE)
def test_every_trial_draws_anew(name: str) -> None:
    """Each has a seed of its own, though its sampler is made for it alone."""
    failed = [create_trial(state=TrialState.FAIL) for _ in range(8)]  # nothing to learn from
    betas = [proposed(name, FLAT, failed[:n]).params["model.beta"] for n in range(8)]
    assert len(set(betas)) == 8
    assert len({Turn(FLAT, 1, Seeds(0), number).seed for number in range(100)}) == 100


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "cmaes"])
def test_what_failed_trials_were_has_no_effect(name: str) -> None:
    trials = swept(name, FLAT, 14, states=["COMPLETE", "FAIL", "COMPLETE", "FAIL"])
    before = proposed(name, FLAT, trials)
    trials[1].params = dict(trials[5].params)
    after = proposed(name, FLAT, trials)
    assert before.params == after.params


def test_tpe_keeps_away_from_running_trials() -> None:
    trials = swept("tpe", FLAT, 20)
    there = proposed("tpe", FLAT, trials)

    def distance(history: list[FrozenTrial]) -> float:
        others = [proposed("tpe", FLAT, history, seed) for seed in range(20)]
        betas = [other.params["model.beta"] for other in others]
        return float(np.mean(np.abs(np.array(betas) - there.params["model.beta"])))

    assert distance([*trials, *[there] * 5]) > distance(trials)


@pytest.mark.parametrize("space", [FLAT, CONDITIONAL], ids=["flat", "conditional"])
def test_tpe_learns_where_it_is_good(space: Space) -> None:
    late = [trial.value for trial in swept("tpe", space, 40)[25:]]
    drawn = [trial.value for trial in swept("random", space, 40)[25:]]
    assert np.median(late) > np.median(drawn) / 2  # values are negative


def test_tpe_learns_what_goes_together_unless_there_are_several_objectives() -> None:
    """Good is where a equals b: either of them alone says little."""
    space = Space((branch({}, "model.a=interval(0.0,1.0)", "model.b=interval(0.0,1.0)"),))
    distributions = proposed("random", space, []).distributions

    def distance(*slopes: float) -> float:
        """Mean distance from there, with an objective for each slope along it."""
        trials = [
            create_trial(
                params={"model.a": a, "model.b": b}, distributions=distributions,
                values=[slope * a - abs(a - b) for slope in slopes],
            )
            for a, b in np.random.default_rng(2).random((100, 2))
        ]  # fmt: skip
        directions = ["maximize" for _ in slopes]
        found = params_of(proposed("tpe", space, trials, n, directions) for n in range(30))
        return float(np.mean([abs(each["model.a"] - each["model.b"]) for each in found]))

    assert distance(0) < 0.1  # of two random numbers it is 1/3
    assert distance(0.5, -0.5) > 0.2


def test_cmaes_needs_no_more_than_two_numbers() -> None:
    two = Space((branch({}, "model.a=interval(0,1)", "model.b=interval(0,1)"),))
    sampler("cmaes").refuse_space(two)


def test_cmaes_learns_where_it_is_good_across_generations() -> None:
    space = Space((branch({}, MODEL[0], MODEL[1]),))
    trials = swept("cmaes", space, 60)
    generations = [trial.system_attrs.get("cma:generation", -1) for trial in trials]
    assert max(generations) >= 7  # 6 trials each
    assert np.median([t.value for t in trials[40:]]) > np.median([t.value for t in trials[:20]]) / 4


def test_cmaes_learns_from_pruned_trials_when_told_to() -> None:
    trials = swept("cmaes", FLAT, 12, states=["COMPLETE", *["PRUNED"] * 11])
    assert all("cma:generation" in trial.system_attrs for trial in trials[2:])
    deaf = sampler("cmaes", learn_from_pruned=False)
    a, b = (proposed(deaf, FLAT, trials[:n]) for n in (1, 12))
    assert b.system_attrs["cma:generation"] == a.system_attrs["cma:generation"] == 0


def test_gp_proposes_the_same_again() -> None:
    pytest.importorskip("torch")
    sampler("gp").refuse(FLAT, 2)
    trials = swept("gp", FLAT, 12)
    assert params_of(swept("gp", FLAT, 12)) == params_of(trials)
    random = params_of(swept("random", FLAT, 12))
    assert params_of(trials)[:10] == random[:10]
    assert all(
        mine != theirs for mine, theirs in zip(params_of(trials)[10:], random[10:], strict=True)
    )


# --- positions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_trial_n_of_qmc_is_point_n(sequence: str) -> None:
    space = Space((branch({}, "model.a=interval(0.0,1.0)", "model.b=interval(0.0,1.0)"),))
    engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[sequence]
    points = engine(2, scramble=True, seed=Seeds(3).named("qmc")).random(8)
    made = sampler("qmc", sequence=sequence)
    failed = [create_trial(state=TrialState.FAIL) for _ in range(8)]
    for number in (0, 1, 5, 7):
        trial = proposed(made, space, failed[:number], seed=3)
        np.testing.assert_allclose(list(trial.params.values()), points[number], atol=1e-12)


def test_qmc_without_scrambling_is_the_same_for_all_seeds() -> None:
    made = sampler("qmc", scramble=False)
    first, second = (proposed(made, FLAT, [], seed) for seed in (0, 1))
    assert first.params == second.params


def test_a_grid_has_every_point_of_every_branch_once() -> None:
    found = [FINITE.settings(params) for params in params_of(swept("grid", FINITE, 100))]
    adam = [
        {"optimizer": "adam", "model.a": a, "model.b": b}
        for a in (1, [2, 3], None)
        for b in (0.1, 0.2, 0.3)
    ]
    sgd = [{"optimizer": "sgd", "model.n": n} for n in (1, 2, 3, 4)]
    assert len(found) == 13
    assert sorted(map(str, found)) == sorted(map(str, adam + sgd))
    assert found != adam + sgd


def test_a_grid_goes_on_past_failed_pruned_and_running_trials() -> None:
    states = ["FAIL", "RUNNING", "PRUNED"]
    assert params_of(swept("grid", FINITE, 100, states=states)) == params_of(
        swept("grid", FINITE, 100)
    )


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "qmc"])
def test_a_space_without_dimensions_has_one_trial(name: str) -> None:
    assert params_of(swept(name, EMPTY, 3)) == [{}]


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "qmc"])
def test_a_space_with_one_point_has_one_trial(name: str) -> None:
    dims = "model.beta=choice(0.5)", "model.dim=range(100,101)"
    point = Space((branch({}, *dims, beta=0.5, dim=100),))
    assert len(swept(name, point, 3)) == 1
    outside = Space((branch({}, "model.beta=choice(0.5)", beta=0.7),))
    n_trials = {"grid": 1}.get(name, 2)  # the configuration's own value comes first, unless a grid
    assert len(swept(name, outside, 3)) == n_trials


# --- the configuration's own values ---------------------------------------------------------------


def test_trial_0_is_the_default_where_the_space_holds_it() -> None:
    lines = "model.beta=interval(0.0,1.0)", "model.dims=choice([600],[600,200])"
    space = Space((branch({}, *lines, beta=0.2, dims=[600]),))
    for name in ("tpe", "random", "qmc"):
        trial = proposed(name, space, [], enqueue_default=True)
        assert space.settings(trial.params) == {"model.beta": 0.2, "model.dims": [600]}
        assert trial.system_attrs == {}
        later = proposed(name, space, [trial], enqueue_default=True)
        assert later.params != trial.params


def test_a_default_outside_of_the_space_is_not_tried() -> None:
    space = Space((branch({}, "model.beta=choice(0.5,1.0)", beta=0.2),))
    trial = proposed("random", space, [], enqueue_default=True)
    plain = proposed("random", space, [])
    assert trial.params == plain.params


def test_a_grid_begins_with_one_of_its_points() -> None:
    space = Space((branch({}, "model.n=range(0,50)", n=7),))
    trial = proposed("grid", space, [], enqueue_default=True)
    plain = proposed("grid", space, [])
    assert trial.params == plain.params != {"model.n": 7}


# --- storages -------------------------------------------------------------------------------------


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
@pytest.mark.parametrize("name", ["tpe", "cmaes"])
def test_proposals_survive_a_storage(name: str, kind: str, tmp_path: Path) -> None:
    def opened() -> optuna.Study:
        storages: dict[str, Callable[[], BaseStorage]] = {
            "journal": lambda: JournalStorage(JournalFileBackend(str(tmp_path / "journal.log"))),
            "sqlite": lambda: RDBStorage(f"sqlite:///{tmp_path}/study.db"),
        }
        return optuna.create_study(
            storage=storages[kind](), study_name="s", direction="maximize", load_if_exists=True
        )

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for number in range(14):
        study = opened()
        study.add_trial(proposed(name, FLAT, study.get_trials()))
        claimed = Trial(study, study.get_trials()[number]._trial_id)
        claimed.report(0.5, 1)
        assert not claimed.should_prune()
        study.tell(number, value(claimed.params))
    found = opened().get_trials()
    assert [trial.number for trial in found] == list(range(14))
    assert params_of(found) == params_of(swept(name, FLAT, 14))
    assert not [key for trial in found for key in trial.system_attrs if "relative" in key]


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
@pytest.mark.parametrize("space", [FLAT, CONDITIONAL], ids=["flat", "conditional"])
def test_several_objectives(name: str, space: Space) -> None:
    both = ["maximize", "minimize"]
    sampler(name).refuse(space, 2)
    study = optuna.create_study(directions=both)
    for number in range(14):
        trial = proposed(name, space, study.get_trials(), directions=both)
        study.add_trial(trial)
        study.tell(number, [value(trial.params), float(number)])
    assert len({str(params) for params in params_of(study.get_trials())}) == 14


@pytest.mark.parametrize("name", FREE)
def test_nothing_is_printed(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    trials = swept(name, FLAT, 14)
    capfd.readouterr()
    proposed(name, FLAT, trials)
    assert capfd.readouterr() == ("", "")


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "space", "n_objectives", "message"),
    [
        ("grid", FLAT, 1, "grid needs choices or ranges, but model.beta is an interval; write"),
        ("cmaes", FLAT, 2, "sampler=cmaes needs one objective, but sweep.objectives has 2; choose"),
        ("cmaes", CONDITIONAL, 1, "optimizer.momentum depends on optimizer; choose sampler=tpe"),
        ("cmaes", FINITE, 1, "model.a depends on optimizer"),
        ("cmaes", OF_TWO_RANGES, 1, r"model\.lr\[adam\] depends on optimizer"),
        ("cmaes", Space((branch({}, *MODEL[1:3]),)), 1, "the space has 1; choose sampler=tpe"),
    ],
)
def test_what_a_sampler_cannot_search_is_refused(
    name: str, space: Space, n_objectives: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sampler(name).refuse(space, n_objectives)


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_most_samplers_search_everything(name: str) -> None:
    for space in (FLAT, CONDITIONAL, FINITE, EMPTY):
        sampler(name).refuse(space, 1)
    sampler("grid").refuse(FINITE, 2)


def test_a_huge_grid_is_refused() -> None:
    most = Space((branch({}, "model.a=range(0,1000)", "model.b=range(0,1000)"),))
    sampler("grid").refuse(most, 1)  # 1,000,000 points
    space = Space((branch({}, "model.a=range(0,2000)", "model.b=range(0,2000)"),))
    with pytest.raises(InputError, match=f"at most {MAX_GRID_POINTS:,} .* has 4,000,000; search"):
        sampler("grid").refuse(space, 1)


@pytest.mark.parametrize("name", ["cmaes", "gp"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda _: None)
    package = {"cmaes": "cmaes", "gp": "torch"}[name]
    with pytest.raises(InputError, match=rf"package {package}, .* install 'recsweep\[{name}\]'"):
        sampler(name).refuse(FLAT, 1)


def test_the_cost_of_a_setting_out_of_range_is_one_line() -> None:
    with pytest.raises(InputError, match=r"sampler\.n_startup_trials must be at least 1"):
        sampler("tpe", n_startup_trials=0)
