"""From settings to a checked search: what is refused, what makes its identity, what workers get."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plans import toy_config, toy_space

from recsweep import environment
from recsweep.errors import InputError
from recsweep.sweeps.execution.setup import StudyRequest, StudySpec
from recsweep.sweeps.execution.watchdog import Process
from recsweep.sweeps.study.shared_study import Plan

Config = Callable[..., dict[str, Any]]


@pytest.fixture
def search(config: Config, tmp_path: Path) -> Callable[..., StudyRequest]:  # noqa: ARG001 - puts the environment back
    """A search of the toy in the test's own folder."""

    def make(*overrides: str) -> StudyRequest:
        toy = toy_config(tmp_path, f"sweep.folder={tmp_path}/sweeps", *overrides)
        return StudyRequest(
            "toy", toy, ["data=synthetic"], lambda: toy_space(toy), lambda *_: [], "command"
        )

    return make


def refused(search: StudyRequest) -> str:
    with pytest.raises(InputError) as caught:
        search.check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_search_in_which_nothing_is_wrong_writes_nothing_but_the_cache(
    search: Callable[..., StudyRequest], tmp_path: Path
) -> None:
    checked = search().check()
    assert isinstance(checked, StudySpec)
    assert checked.objectives == ["ndcg@10"]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.extended
def test_the_identity_is_what_trials_depend_on(search: Callable[..., StudyRequest]) -> None:
    def identity(*overrides: str) -> dict[str, Any]:
        return search(*overrides).check().identity

    first = identity()
    assert json.loads(json.dumps(first)) == first
    assert first["space"] == {"model.quality": "interval(0.0,1.0)"}
    assert first["fixed"] == ["data=synthetic"]
    assert set(first["fingerprint"]) == {"data", "split"}
    assert identity("sweep.n_trials=3", "sweep.n_workers=2", "sweep.max_failures=1") == first
    for part, override in (
        ("config", "seed=1"), ("config", "sweep.seed=1"), ("sampler", "sampler=random"),
        ("pruner", "pruner=median"), ("fingerprint", "data.seed=5"),
        ("objectives", "objective=recall@5"),
    ):  # fmt: skip
        assert identity(override)[part] != first[part], override


def test_the_code_of_every_class_that_may_run_is_part_of_it(
    search: Callable[..., StudyRequest],
) -> None:
    made = search()
    classes = "model._target_=plans.Toy,small_runs.Other"
    searched = replace(made, make_space=lambda: toy_space(made.config, classes)).check()
    assert list(searched.identity["code"]) == ["plans.Toy", "recsweep", "small_runs.Other"]
    assert all(len(text) == 16 for text in searched.identity["code"].values())
    plan = searched.plan(deadline=None, parent_run=None, stop_file=None, retry=[])
    assert plan.code == searched.identity["code"]
    assert searched.identity["versions"] == environment.versions()


def test_a_plan_is_all_that_a_worker_needs(
    search: Callable[..., StudyRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = search("sweep.folder=here", "sweep.n_trials=7", "sweep.seed=3", "sampler=random")
    plan = made.check().plan(deadline=1.5, parent_run="run", stop_file="stop", retry=[3])
    assert Plan(**json.loads(json.dumps(plan.plain()))) == plan
    assert (plan.study, plan.folder) == ("toy", str(tmp_path / "here" / "toy"))
    assert (plan.n_trials, plan.seed, plan.threads, plan.backend) == (7, 3, 1, "jax")
    assert (plan.deadline, plan.parent_run, plan.stop_file) == (1.5, "run", "stop")
    assert plan.retry == [3]
    assert plan.sampler == {"_target_": "recsweep.sweeps.sampling.samplers.Random"}
    assert Process.of(plan.parent_process).is_current
    assert os.environ["OMP_NUM_THREADS"] == "1"  # for the processes that will be started


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sweep.n_trials=0", "sweep.n_trials must be at least 1, but is 0"),
        ("sweep.n_workers=0", "sweep.n_workers must be at least 1 and at most 1024, but is 0"),
        ("sweep.timeout=0", "sweep.timeout must be above 0, but is 0"),
        ("sweep.seed=-1", "sweep.seed must be at least 0, but is -1"),
        ("sweep.max_retries=-1", "sweep.max_retries must be at least 0"),
        ("sweep.objectives=[]", "sweep.objectives must have at least 1 item"),
        ("+sweep.trials=3", "unknown key sweep.trials; did you mean sweep.n_trials?"),
        ("sweep.folds=1", "sweep.folds must be at least 2, but is 1"),
        ("sweep.seeds_per_trial=0", "sweep.seeds_per_trial must be at least 1, but is 0"),
        ("sweep.folds=109", "sweep.folds must leave a user to each fold, but is 109 for 108 users"),
        ("task=evaluate", "-m needs task=train, but the task is "),
        ("k=[5,1000]", "k must not exceed the 50 items"),
    ],
)
def test_wrong_settings_are_refused(
    search: Callable[..., StudyRequest], override: str, expected: str
) -> None:
    assert expected in refused(search(override))


def test_an_objective_that_is_not_better_if_larger_is_refused(
    search: Callable[..., StudyRequest],
) -> None:
    of_gini = search(
        "metrics=[gini,ndcg]", "sweep.objectives=[ndcg@10,gini@10]", "objective=ndcg@10"
    )
    assert "but gini@10 is not; remove it" in refused(of_gini)
    assert refused(search("metrics=[gini,ndcg]")).startswith("objective must be a metric that is b")


def test_folds_of_seeds_are_refused(search: Callable[..., StudyRequest]) -> None:
    line = refused(search("sweep.folds=5", "sweep.seeds_per_trial=3"))
    assert "sweep.folds is 5 and sweep.seeds_per_trial is 3; set one of them" in line


def test_folds_need_a_split_of_whole_users(search: Callable[..., StudyRequest]) -> None:
    line = refused(search("sweep.folds=5", "split=weak"))
    assert "120 users are in several of training, validation and test" in line
    assert "set sweep.seeds_per_trial instead, or use split=strong" in line
    search("sweep.seeds_per_trial=5", "split=weak").check()
    search("sweep.folds=5", "split=kfold").check()


@pytest.mark.parametrize(
    ("override", "n"), [("sweep.folds=3", 3), ("sweep.seeds_per_trial=4", 4), ("sweep.seed=1", 1)]
)
def test_replicates_are_part_of_the_identity_where_there_are_several(
    search: Callable[..., StudyRequest], override: str, n: int
) -> None:
    checked = search(override).check()
    usual = {"seed": 0, "try_defaults": True}
    key, value = override.removeprefix("sweep.").split("=")
    assert checked.identity["config"]["sweep"] == {**usual, key: int(value)}
    assert checked.n_replicates == n
    plan = checked.plan(deadline=None, parent_run=None, stop_file=None, retry=[])
    expected = {"folds": None, "seeds_per_trial": 1, "seed": 0, key: int(value)}
    assert {name: getattr(plan, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a\nb", "-m", ""])
def test_a_name_that_is_no_folders_is_refused(
    search: Callable[..., StudyRequest], name: str
) -> None:
    assert "a study's name must start with a letter" in refused(replace(search(), name=name))


@pytest.mark.parametrize("name", ["multivae-ml-1m-0a1b2c3d", "Größe 3", "b=.2,c+1_x"])
def test_a_name_that_is_a_folders_is_taken(search: Callable[..., StudyRequest], name: str) -> None:
    assert (
        replace(search(), name=name)
        .check()
        .plan(deadline=None, parent_run=None, stop_file=None, retry=[])
        .folder.endswith(f"/{name}")
    )


def test_a_folder_in_whose_place_is_a_file_is_refused(
    search: Callable[..., StudyRequest], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = refused(search(f"sweep.folder={tmp_path}/file"))
    assert said.startswith("sweep.folder must be a new or empty folder that can be written, but ")


def test_objectives_begin_with_what_epochs_are_chosen_by(
    search: Callable[..., StudyRequest],
) -> None:
    both = search("sweep.objectives=[ndcg@10,train_s,wall_s]", "pruner=none")
    assert both.check().objectives == ["ndcg@10", "train_s", "wall_s"]
    for wrong in ("[recall@5]", "[train_s]", "[ndcg@10,ndcg@10]"):
        said = refused(search(f"sweep.objectives={wrong}", "pruner=none"))
        assert "start with the metric that selects epochs (ndcg@10)" in said
    assert "but has nope; change" in refused(search("sweep.objectives=[nope]"))


def test_several_objectives_are_not_pruned(search: Callable[..., StudyRequest]) -> None:
    assert refused(search("sweep.objectives=[ndcg@10,train_s]")).endswith("set pruner=none")


@pytest.mark.parametrize(
    ("storage", "tracking"),
    [
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("sqlite:///x.db", "sqlite:///{here}/x.db"),
        ("postgresql+psycopg://a:b@h/db", "postgresql://c:d@h/db"),
    ],
)
def test_a_database_that_mlflow_will_use_is_refused(
    search: Callable[..., StudyRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    storage: str, tracking: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recsweep.tracking.MLflowTracker.refuse_unusable", lambda _: None)
    made = search(f"sweep.storage={storage}")
    uri = tracking.format(here=tmp_path)
    store = {"_target_": "recsweep.tracking.MLflowTracker", "uri": uri, "experiment": "x",
             "run_name": None}  # fmt: skip
    said = refused(replace(made, config={**made.config, "tracking": store}))
    assert said.startswith("sweep.storage must be a database of its own, but MLflow uses the same")


def test_a_sampler_that_cannot_search_the_space_is_refused(
    search: Callable[..., StudyRequest],
) -> None:
    assert "model.quality is an interval" in refused(search("sampler=grid"))


@pytest.mark.parametrize(
    ("overrides", "slots"),
    [
        ([], None),
        (["sweep.slots=4"], 4),
        (["sweep.objectives=[ndcg@10,train_s]", "pruner=none"], 1),
        (["sweep.objectives=[ndcg@10,train_s]", "pruner=none", "sweep.slots=1"], 1),
    ],
    ids=str,
)
def test_workers_choose_their_slots_unless_the_time_of_a_trial_counts(
    search: Callable[..., StudyRequest], overrides: list[str], slots: int | None
) -> None:
    plan = search(*overrides).check().plan(
        deadline=None, parent_run=None, stop_file=None, retry=[]
    )  # fmt: skip
    assert plan.slots == slots


def test_slots_need_jax_and_objectives_without_a_clock(
    search: Callable[..., StudyRequest],
) -> None:
    assert refused(search("sweep.slots=4", "backend=tensorflow")) == (
        "trials can be trained side by side only with backend=jax, but sweep.slots is 4 with "
        "backend=tensorflow; set sweep.slots=1"
    )
    timed = ("sweep.objectives=[ndcg@10,train_s]", "pruner=none")
    assert refused(search("sweep.slots=4", *timed)) == (
        "a trial's time can be an objective only where it trains alone, but sweep.objectives has "
        "train_s and sweep.slots is 4; set sweep.slots=1"
    )
    for slots in ("0", "1025", "2.0", "true", "[1]"):
        said = refused(search(f"sweep.slots={slots}"))
        assert said.startswith("sweep.slots must be auto or a whole number from 1 to 1024, but is ")
