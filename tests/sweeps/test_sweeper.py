"""`python -m recsweep -m …` from the command line to the winner's score on test."""

import csv
import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
import yaml
from commands import Ended, assert_refused, first_few, run_command
from faults.processes import ctrl_c_twice
from hydra.core.override_parser.overrides_parser import OverridesParser
from mlflow_runs import start
from small_runs import SMALL, SMALL_DATA

from recsweep.app import Settings, model_name, parameters
from recsweep.build import validate
from recsweep.command_line import compose_config
from recsweep.defaults import conf_folder
from recsweep.run_files import JOURNAL
from recsweep.sweeps.space.space import setting_names
from recsweep.sweeps.storage.backends import open_storage
from recsweep.sweeps.study.identity import of_config
from recsweep.sweeps.sweeper import (
    _Combination,
    _combinations,
    _is_of,
    _name,
)

BASIC = "-m hydra/launcher=basic"
DATA = " ".join(SMALL_DATA)
UNTRACKED = f"{BASIC} tracking=off {DATA}"
NETWORK = " ".join(
    each.replace("n_epochs=3", "n_epochs=4") for each in SMALL if each not in SMALL_DATA
)
BRIEF = "pruner.min_epochs=1 metrics=[ndcg,recall] sweep.final_seeds=2"
SWEEP = f"{BASIC} model=multivae {DATA} {NETWORK} {BRIEF}"


def studies(folder: Path) -> dict[str, optuna.Study]:
    """Those that a command wrote, by name."""
    places = sorted(file.parent for file in (folder / "sweeps").glob(f"*/{JOURNAL}"))
    return {
        place.name: optuna.load_study(study_name=place.name, storage=open_storage(None, place))
        for place in places
    }


def only_study(folder: Path) -> optuna.Study:
    (study,) = studies(folder).values()
    return study


def runs(folder: Path) -> list[Any]:
    """All runs of a folder's store."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("recsweep")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def of_kind(found: list[Any], kind: str) -> list[Any]:
    return [run for run in found if run.data.tags["recsweep.kind"] == kind]


def metrics(folder: Path) -> Any:
    return json.loads((folder / "results" / "metrics.json").read_text())


# --- one sweep, typed three times ----------------------------------------------------------------


class Reached(NamedTuple):
    """What there was after a command."""

    ended: Ended
    trials: list[optuna.trial.FrozenTrial]
    runs: list[Any]
    results: dict[str, Any]
    files: dict[str, float]


class Story(NamedTuple):
    """The same command twice, then with more trials."""

    place: Path
    first: Reached
    again: Reached
    raised: Reached


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story") / "here"

    def reached(n_trials: int) -> Reached:
        ended = run_command(folder, f"{SWEEP} sweep.n_trials={n_trials}")
        assert ended.code == 0, ended.err
        (place,) = (folder / "sweeps").iterdir()
        results = yaml.safe_load((place / "results" / "optimization_results.yaml").read_text())
        files = {str(f): f.stat().st_mtime for f in place.rglob("*") if f.is_file()}
        files = {f: when for f, when in files.items() if "/results/" not in f or "/winner/" in f}
        files.pop(f"{place}/locks/mutex", None)  # names whoever had it last
        return Reached(ended, only_study(folder).get_trials(), runs(folder), results, files)

    steps = [reached(4), reached(4), reached(6)]
    (place,) = (folder / "sweeps").iterdir()
    return Story(place, *steps)


def test_a_sweep_finishes_exactly_as_many_trials_as_asked_for(story: Story) -> None:
    trials = story.first.trials
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert all(trial.state.is_finished() for trial in trials)
    assert trials[0].user_attrs["is_default"] is True
    assert "4 of 4 trials done: " in story.first.ended.out
    assert {path.name for path in story.place.parent.parent.iterdir()} == {
        "sweeps", "mlflow.db", "mlartifacts",
    }  # fmt: skip


def test_a_sweep_is_one_parent_with_a_child_per_trial(story: Story) -> None:
    (parent,) = of_kind(story.first.runs, "sweep")
    children = of_kind(story.first.runs, "trial")
    winners = of_kind(story.first.runs, "winner")
    assert sorted(run.data.tags["recsweep.replicate"] for run in winners) == ["0", "1"]
    assert {run.info.status for run in (parent, *winners)} == {"FINISHED"}
    assert sorted(run.data.tags["recsweep.trial"] for run in children) == ["0", "1", "2", "3"]
    for run in (*children, *winners):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["recsweep.study"] == story.place.name
    names = {run.data.tags["recsweep.trial"]: run.info.run_name for run in children}
    assert names["0"].startswith("#0 β=.2 d=.5 l2=0 decay=")


def test_every_trial_has_its_curve_in_study_and_tracker(story: Story) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{story.place.parent.parent}/mlflow.db")
    status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}
    for trial in story.first.trials:
        run = client.get_run(trial.user_attrs["run_id"])
        assert run.info.status == status[trial.state.name]
        curve = client.get_metric_history(run.info.run_id, "valid/ndcg_at_10")
        assert {entry.step: entry.value for entry in curve} == trial.intermediate_values
        assert len(curve) == trial.user_attrs["n_epochs"] >= 1
        place = story.place / "trials" / f"{trial.number:04d}"
        with (place / "curves.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(curve)
        assert (place / "log.txt").read_text().count("epoch ") == len(curve)


def test_the_winner_is_trained_again_to_the_same_bits_and_scored_once(story: Story) -> None:
    first = story.first
    best = max((t for t in first.trials if t.state.name == "COMPLETE"), key=lambda t: t.value)
    assert first.results["best_trial"] == best.number
    assert first.results["best_evaluated_result"] == best.value
    folder = story.place / "winner" / f"{best.number:04d}"
    again = [metrics(folder / f"replicate-{index}") for index in range(2)]
    assert again[0]["valid"]["mean"]["ndcg@10"] == best.value
    assert first.results["test_scored"]["n_times"] == 2
    means = [each["test"]["mean"]["ndcg@10"] for each in again]
    assert first.results["test"]["mean"]["ndcg@10"] == pytest.approx(sum(means) / 2)
    assert means[0] != means[1]
    scored = [run for run in first.runs if any(m.startswith("test_") for m in run.data.metrics)]
    assert {run.data.tags["recsweep.kind"] for run in scored} == {"sweep", "winner"}
    assert f"winner: trial {best.number}, trained again" in first.ended.out


def test_a_single_run_of_the_best_line_has_the_trials_value(story: Story) -> None:
    folder = story.place.parent.parent
    line = shlex.join(story.first.results["best_overrides"])
    out = folder.parent / "single"
    ended = run_command(folder, f"{line} tracking=off hydra.run.dir={out}")
    assert ended.code == 0, ended.err
    assert metrics(out)["valid"]["mean"]["ndcg@10"] == story.first.results["best_evaluated_result"]


def test_the_same_command_again_prints_the_result_and_changes_nothing(story: Story) -> None:
    first, again = story.first, story.again
    assert again.files == first.files
    assert again.results == first.results
    ids = [
        {run.info.run_id: run.info.end_time for run in reached.runs} for reached in (first, again)
    ]
    assert ids[0] == ids[1]
    tables = [ended.out.partition("results ")[0] for ended in (first.ended, again.ended)]
    assert tables[0] == tables[1]
    pages = [re.findall("open UI .*", ended.out) for ended in (first.ended, again.ended)]
    assert pages[0] == pages[1] != []
    assert [" trials were done before" in x.ended.err for x in (first, again)] == [False, True]


def test_more_trials_go_on_where_the_study_was(story: Story) -> None:
    first, raised = story.first, story.raised
    assert len(raised.trials) == 6
    assert [trial.params for trial in raised.trials[:4]] == [trial.params for trial in first.trials]
    assert [t.datetime_complete for t in raised.trials[:4]] == [
        t.datetime_complete for t in first.trials
    ]
    (parent,) = of_kind(raised.runs, "sweep")
    assert parent.info.run_id == of_kind(first.runs, "sweep")[0].info.run_id
    assert len(of_kind(raised.runs, "trial")) == 6
    assert {run.info.status for run in raised.runs} <= {"FINISHED", "KILLED"}


def test_the_command_to_go_on_is_the_one_that_was_typed(story: Story) -> None:
    assert "resume  " not in story.first.ended.out, "nothing is left"
    command = shlex.split(story.first.results["resume"])
    assert command[:4] == ["python", "-m", "recsweep", "-m"]
    assert set(shlex.split(SWEEP)) < set(command)


# --- several studies, several objectives ---------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    folder = tmp_path_factory.mktemp("both") / "here"
    of_ease = "model.l2@ease=tag(log,interval(1,100)) model.dropout_rate=0"
    return folder, run_command(
        folder, f"{UNTRACKED} model=popularity,ease {of_ease} sweep.n_trials=3"
    )


def test_several_models_are_a_study_each(both: tuple[Path, Ended]) -> None:
    folder, ended = both
    assert ended.code == 0, ended.err
    begun = [line for line in ended.err.splitlines() if re.match(r"\d of \d  |nothing", line)]
    assert begun == [
        "1 of 2    model=popularity", "nothing is searched: one trial", "2 of 2    model=ease",
    ]  # fmt: skip
    ease, popularity = studies(folder).items()
    assert ease[0].startswith("ease-synthetic-")
    assert popularity[0].startswith("popularity-synthetic-")
    assert len(ease[1].trials) == 3
    assert all(list(trial.params) == ["model.l2"] for trial in ease[1].trials)
    assert "model.dropout_rate is for ease; popularity has no such setting\n" in ended.err
    assert len(popularity[1].trials) == 1  # it has nothing to search
    assert popularity[1].trials[0].params == {}
    lines = ended.out.splitlines()
    head = next(line for line in lines if line.lstrip().startswith("study "))
    assert " ".join(head.split()) == (
        "study trials objective validation default test ± standard error"
    )
    rule, first, second = lines[lines.index(head) + 1 :][:3]
    assert set(rule) == {"─"}
    assert first.split()[:3] == [popularity[0], "1", "ndcg@10"]
    assert second.split()[:3] == [ease[0], "3", "ndcg@10"]


@pytest.mark.extended
def test_of_several_studies_each_goes_on_alone(both: tuple[Path, Ended]) -> None:
    folder, _ = both
    of_ease = "model.l2=tag(log,interval(1,100)) model.dropout_rate=0"
    ended = run_command(folder, f"{UNTRACKED} model=ease {of_ease} sweep.n_trials=4")
    assert ended.code == 0, ended.err
    assert sorted(len(study.trials) for study in studies(folder).values()) == [1, 4]


@pytest.mark.extended
def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    line = f"{UNTRACKED} model=ease sweep.n_trials=3 sweep.objectives=[ndcg@10,train_s]"
    ended = run_command(tmp_path / "here", f"{line} pruner=none")
    assert ended.code == 0, ended.err
    assert "Pareto front of ndcg@10 and train_s: " in ended.out
    assert "several objectives have no single winner, so test is not scored" in ended.out
    assert "winner: " not in ended.out
    study = only_study(tmp_path / "here")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert all(len(trial.values) == 2 for trial in study.trials)


@pytest.mark.extended
def test_a_default_beyond_the_space_is_tried_and_reproduced(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    line = f"{UNTRACKED} model=ease model.l2=tag(log,interval(1,100)) model.dropout_rate=0"
    said = [
        run_command(folder, f"{line} sweep.n_trials={n} study=mine").err.splitlines()[0]
        for n in (2, 3)
    ]
    assert said[0] == (
        "trial 0 is the default configuration, where model.l2 is 500.0, outside of "
        "tag(log,interval(1.0,100.0)); sweep.try_defaults=false skips it"
    )
    assert said[1].startswith("study "), "it has been tried"
    trials = only_study(folder).trials
    assert [t.user_attrs["is_default"] for t in trials] == [True, False, False]
    assert trials[0].user_attrs["settings"] == {"model.l2": 500.0}
    assert trials[0].params == {"model.l2": 100.0}
    best = run_command(folder, "task=best study=mine")
    assert best.code == 0, best.err
    command = best.out.removeprefix("python -m recsweep ")
    again = run_command(folder, f"{command} tracking=off hydra.run.dir={tmp_path}/single")
    assert again.code == 0, again.err
    value = metrics(tmp_path / "single")["valid"]["mean"]["ndcg@10"]
    assert value == max(trial.value for trial in trials)


@pytest.mark.extended
def test_a_timeout_begins_no_more_trials_and_can_be_raised(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    ended = run_command(folder, f"{UNTRACKED} model=ease sweep.n_trials=2 sweep.timeout=1e-3")
    assert ended.code == 0, ended.err
    assert "0 of 2 trials done" in ended.out
    assert run_command(folder, f"{UNTRACKED} model=ease sweep.n_trials=2").code == 0
    assert len(only_study(folder).trials) == 2


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    first_few(
        [
            ("model.l3=interval(0,1)", "unknown key model.l3; model has dropout_rate, l2"),
            (
                "model.dropout_rate=interval(0,2)",
                "model.dropout_rate must be at least 0 and at most 0.999999",
            ),
            ("model.l2=interval(2,2)", "an interval must start below its end"),
            ("model.l2=tag(log,interval(0,1))", "needs an interval above 0"),
            ("model.l2=interval(1,2) model.l2=interval(2,3)", "is given 2 times; give it once"),
            (
                "model=popularity,ease model.l3=interval(1,2)",
                "error: unknown key model.l3; model has dropout_rate, l2",
            ),
            ("model=ease,popularity model.l3=1.5", "error: unknown key model.l3; model has"),
            ("model=ease,popularity model.l2@eas=1", "but model.l2@eas=1 has eas; did you mean"),
            ("sampler=grid", "sampler=grid needs choices or ranges, but model.dropout_rate is an"),
            ("seed=1,2", "seeds are replicates, not settings"),
            ("k=[5],[10]", "k must be the same in all trials"),
            ("data.min_rating=interval(1,2)", "data.min_rating must be the same in all trials"),
            ("model=ease,eas", "did you mean model=ease?"),
            ("optimizer=adam,sgd", "EASE does not use optimizer"),
            ("backend=jax,tensorflow", "basic runs backend=jax,tensorflow in one process"),
            ("model=ease,interval(0,1)", "model must be given as names, such as model=a,b"),
            ("sweep.n_trials=0", "sweep.n_trials must be at least 1, but is 0"),
            ("sweep.n_workers=1,2", "sweep.n_workers must be the same in all trials"),
            ("sweep.objectives=[ndcg@10,train_s]", "cannot be pruned"),
            ("sweep.objectives=[ndcg@7] pruner=none", "objective must be "),
            ("sweep.objectives=ndcg@10", "sweep.objectives must be a valid list"),
            ("sweep.objectives=[ndcg@10,x] pruner=none", "but has x; change sweep.objectives"),
            ("sweep.objectives=[train_s] pruner=none", "objective must be "),
            ("sweep.folder=null", "sweep.folder must be a path, but is None"),
            (
                "sweep.storage=mysql://localhost/x",
                "sweep.storage must be sqlite:///PATH or postgres",
            ),
            ("sweep.storage=sqlite:///mlflow.db", "but MLflow uses the same one"),
            ("study=a/b", "a study's name must start with a letter or digit"),
            ("study=..", "a study's name must start with a letter or digit"),
            (
                "task=recommend",
                "-m needs task=train, but the task is recommend; drop -m or task=recommend",
            ),
        ]
    ),
)
def test_a_search_that_cannot_be_made_is_a_line_and_leaves_nothing(
    tmp_path: Path, line: str, expected: str
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    usual = f"{BASIC} {DATA}" if "data=" not in line else f"{BASIC} k=[5,10]"
    usual = usual.replace("k=[5,10]", "") if line.startswith("k=") else usual
    model = "" if "model=" in line else "model=ease"
    assert_refused(folder, run_command(folder, f"{usual} {model} {line}"), expected)


def test_a_database_that_does_not_answer_is_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    folder = tmp_path / "here"
    url = "postgresql+psycopg://me:secret@localhost:1/x"
    ended = run_command(folder, f"{UNTRACKED} model=ease sweep.storage={url}")
    assert_refused(folder, ended, "me:***@localhost:1/x (connection failed: ")


@pytest.mark.extended
def test_a_folder_that_cannot_be_is_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = f"sweep.folder={tmp_path}/file"
    for storage in ("null", f"sqlite:///{tmp_path}/s.db"):
        ended = run_command(
            tmp_path / "here", f"{UNTRACKED} model=ease {place} sweep.storage={storage}"
        )
        assert_refused(tmp_path / "here", ended, "sweep.folder", f"{tmp_path}/file")
    assert not (tmp_path / "s.db").exists()


@pytest.mark.extended
def test_a_study_of_other_settings_is_refused_by_the_difference(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    line = f"{UNTRACKED} model=ease sweep.n_trials=1 study=mine"
    assert run_command(folder, line).code == 0
    for change, expected in (
        ("evaluation_batch_size=100", "evaluation_batch_size was 500 and is 100;"),
        ("sampler=random", "sampler._target_ was recsweep.sweeps.sampling.samplers.TPE and is "),
    ):
        ended = run_command(folder, f"{line} {change}")
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert expected in ended.err
    study = only_study(folder)
    identity = study.user_attrs["identity"]
    for part, name, expected in (  # as another version would have left it
        ("code", "recsweep", "study mine: the code of recsweep changed;"),
        ("versions", "numpy", f"study mine: versions.numpy was 0 and is {version('numpy')};"),
        ("versions", "jaxlib", f"study mine: versions.jaxlib was 0 and is {version('jaxlib')};"),
    ):
        study.set_user_attr("identity", {**identity, part: {**identity[part], name: "0"}})
        ended = run_command(folder, line)
        assert expected in ended.err
        assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert len(only_study(folder).trials) == 1


def test_data_that_changed_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    file = tmp_path / "clicks.csv"
    pairs = [f"{u},{i},1" for u in range(60) for i in range(u % 7, 40, 2 + u % 3)]
    file.write_text("\n".join(["user,item,value", *pairs, ""]))
    line = (
        f"{BASIC} tracking=off data=csv data.path={file} data.n_heldout_users=10 k=[5] model=ease "
        "sweep.n_trials=1"
    )
    ended = run_command(folder, line)
    assert ended.code == 0, ended.err
    file.write_text(file.read_text() + "0,1,1\n")
    ended = run_command(folder, line)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "fingerprint.data was " in ended.err


def test_another_programs_study_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    (folder / "sweeps" / "mine").mkdir(parents=True)
    storage = open_storage(None, folder / "sweeps" / "mine")
    optuna.create_study(storage=storage, study_name="mine", direction="maximize").add_trial(
        optuna.create_trial(value=1.0)
    )
    ended = run_command(folder, f"{UNTRACKED} model=ease study=mine")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "study mine must be a recsweep study, but another program created it" in ended.err


@pytest.mark.extended
def test_a_study_whose_trials_all_fail_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr("recsweep.models.item_knn.ItemKNN.fit", broken)
    folder = tmp_path / "here"
    line = f"{UNTRACKED} model=item_knn,ease,popularity sweep.n_trials=2 sweep.final_seeds=1"
    for _ in range(2):
        ended = run_command(folder, line)
        assert ended.code == 1
        place = next((folder / "sweeps").glob("item_knn-*"))
        said = (
            f"model=item_knn: at least one trial of {place.name} must be complete, but 2 of 2 "
            f"failed, the last one because ValueError: a fault (see {place}/trials/0001/log.txt); "
            "fix it and add sweep.retry_failed=true to retry them"
        )
        assert ended.err.splitlines()[-1] == f"error: {said}"
        assert "Traceback" not in ended.err
        assert "comparison.html" in ended.out, "the other two are compared"
        assert len(list((folder / "sweeps").glob("*/winner"))) == 2
    monkeypatch.undo()
    ended = run_command(folder, f"{line} sweep.retry_failed=true")
    assert ended.code == 0
    assert len(list((folder / "sweeps").glob("*/winner"))) == 3


@pytest.mark.slow
def test_too_many_failures_end_the_sweep_with_their_reason(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    line = (
        f"{UNTRACKED} {NETWORK} model=multivae optimizer=sgd optimizer.learning_rate=10 "
        "model.n_epochs=30 sweep.max_failures=1 patience=null pruner=none sweep.n_trials=9"
    ).replace("model.n_epochs=4 ", "")
    ended = run_command(folder, line)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith(
        "error: at most sweep.max_failures=1 trials may fail, but 2 did, the last one because "
    )
    failed = [trial for trial in only_study(folder).trials if trial.state.name == "FAIL"]
    assert len(failed) == 2
    assert failed[-1].user_attrs["reason"] in ended.err
    assert "Traceback" not in ended.err


# --- names and combinations ----------------------------------------------------------------------


def parsed(*lines: str) -> Any:
    return OverridesParser.create().parse_overrides(list(lines))


def test_settings_below_a_setting_of_the_model_are_its_settings_too() -> None:
    names = setting_names({"model": {"l2": 1.0, "first": {"depth": 2}}, "search": {"a.b": "x"}})
    assert names == {"model", "model.l2", "model.first", "model.first.depth"}


def test_combinations_come_in_the_order_of_writing() -> None:
    overrides = parsed("model=multivae,ease", "seed=1", "data=b,a", "model.l2=interval(0,1)")
    assert [tuple(choice.values()) for choice in _combinations(overrides)] == [
        ("multivae", "b"), ("multivae", "a"), ("ease", "b"), ("ease", "a"),
    ]  # fmt: skip
    part = _Combination.of({"model": "ease", "data": "a"}, overrides)
    assert part.fixed == ["model=ease", "data=a", "seed=1"]
    assert part.swept == ["model.l2=interval(0,1)"]
    assert _combinations(parsed("model=ease")) == [{}]


def test_settings_of_data_and_split_give_a_study_per_value() -> None:
    overrides = parsed("split.window=0,1", "model=ease", "data.path='a b/c.csv',d.csv")
    assert _combinations(overrides) == [
        {"split.window": window, "data.path": path}
        for window in "01"
        for path in ("'a b/c.csv'", "d.csv")
    ]
    line = "model=ease data=synthetic split.seed=1,2"
    parts = [
        _Combination.of(each, parsed(*line.split()))
        for each in _combinations(parsed(*line.split()))
    ]
    names = [
        _name(validate(Settings, compose_config(*part.fixed), ""), part, is_alone=False)
        for part in parts
    ]
    assert [each.rpartition("-")[0] for each in names] == [
        "ease-synthetic-seed-1", "ease-synthetic-seed-2",
    ]  # fmt: skip


def test_a_key_is_of_a_group_or_of_what_is_below_it() -> None:
    assert _is_of("+sweep.n_trials=3", ("sweep",))
    assert _is_of("~sweep", ("sweep",))
    assert not _is_of("sweeper=3", ("sweep",))


def name(line: str) -> str:
    """The study's name of a command line."""
    overrides = parsed(*shlex.split(line))
    (choices,) = _combinations(overrides)
    part = _Combination.of(choices, overrides)
    return _name(validate(Settings, compose_config(*part.fixed), ""), part, is_alone=True)


@pytest.mark.extended
def test_a_study_keeps_its_name_as_long_as_trials_are_the_same() -> None:
    usual = "model=ease data=synthetic seed=1 model.l2=interval(1,9)"
    first = name(usual)
    assert first.startswith("ease-synthetic-")
    assert name(" ".join(reversed(usual.split()))) == first
    for change in (
        "sweep.n_trials=7", "sweep.n_workers=2", "sweep=quick", "sweep.storage=sqlite:///x.db",
        "debug=true", "cache_dir=x", "tracking.experiment=x", "trust=[x]", "fetch=true",
    ):  # fmt: skip
        assert name(f"{change} {usual}") == first
    others = {
        name(f"{usual} {change}")
        for change in (
            "sweep.seed=1", "sweep.objectives=[ndcg@10]", "sampler=random", "patience=3",
            "model.dropout_rate=0.1,0.2", "threads=1",
        )
    }  # fmt: skip
    assert len(others | {first}) == 7
    assert name(f"{usual} study=mine sweep.n_trials=3") == "mine"


def test_the_names_of_several_studies_say_what_tells_them_apart() -> None:
    overrides = parsed("backend=jax,tensorflow", "model=ease,item_knn", "study=mine")
    parts = [_Combination.of(choices, overrides) for choices in _combinations(overrides)]
    names = [
        _name(validate(Settings, compose_config("data=synthetic", *part.fixed), ""), part, False)
        for part in parts
    ]
    assert names == [
        "mine-ease-synthetic-jax", "mine-item_knn-synthetic-jax",
        "mine-ease-synthetic-tensorflow", "mine-item_knn-synthetic-tensorflow",
    ]  # fmt: skip


@pytest.mark.extended
def test_a_study_remembers_what_a_single_run_understands(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    line = f"{UNTRACKED} model=ease sweep.n_trials=1 study=mine sampler=random threads=1"
    assert run_command(folder, f"{line} sweep.objectives=[recall@5]").code == 0
    fixed = only_study(folder).user_attrs["identity"]["fixed"]
    assert fixed == sorted([*SMALL_DATA, "model=ease", "threads=1", "objective=recall@5"])


def test_a_password_is_not_written_into_the_command_to_go_on(tmp_path: Path) -> None:
    line = f"{UNTRACKED} model=ease sweep.timeout=1e-6 hydra.job.name=\\'x://me:secret@here\\'"
    ended = run_command(tmp_path / "here", line)
    assert ended.code == 0, ended.err
    assert "x://***@here" in ended.out
    assert "secret" not in ended.out + ended.err


# --- processes -----------------------------------------------------------------------------------

COMMAND = (
    "import sys; sys.argv = ['recsweep', *sys.argv[1:]]; import recsweep.__main__ as m; m.main()"
)


def started(folder: Path, line: str) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    cache = f"cache_dir={folder.parent / 'cache'}"
    return start(folder, COMMAND, *shlex.split(line), cache)


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[Any]:
    """Starts a long sweep and waits until an epoch is over."""
    processes = []

    def begin(line: str) -> "subprocess.Popen[str]":
        process = started(tmp_path / "here", line)
        processes.append(process)
        log = tmp_path / "here" / "sweeps" / "mine" / "trials" / "0000" / "log.txt"
        while not (log.exists() and "epoch" in log.read_text()):
            assert process.poll() is None, process.communicate()
            signal.sigtimedwait([], 0.05)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


LONG = (
    f"tracking=off {DATA} {NETWORK} model=multivae study=mine sweep.n_trials=2 patience=null "
    "pruner=none"
).replace("model.n_epochs=4", "model.n_epochs=20000")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_ctrl_c_once_ends_politely_and_says_how_to_go_on(
    interrupted: Any, tmp_path: Path, launcher: str
) -> None:
    process = interrupted(f"-m hydra/launcher={launcher} {LONG}")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert out == ""
    *begun, counts, go_on, error = (line for line in err.splitlines() if "epoch " not in line)
    assert counts == "0 of 2 trials done: 0 complete, 0 pruned, 0 failed, 1 interrupted"
    assert go_on.startswith(f"resume    python -m recsweep -m hydra/launcher={launcher} ")
    assert error == "error: stopped by Ctrl-C"
    assert "stopping after this epoch; Ctrl-C again stops at once" in err
    assert "resource_tracker" not in err, "nothing is left for joblib to complain of"
    assert [line.split()[0] for line in begun[:2]] == ["trial", "study"]
    assert not list((tmp_path / "here").rglob("stop-*"))
    (trial,) = only_study(tmp_path / "here").trials
    assert trial.user_attrs["is_interrupted"] is True


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(interrupted: Any, tmp_path: Path) -> None:
    process = interrupted(f"-m hydra/launcher=joblib {LONG}")
    ctrl_c_twice(process)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    *_, go_on, error = err.splitlines()
    assert go_on.startswith("resume    python -m recsweep -m ")
    assert error.startswith("error: stopped by ")
    assert error.endswith(", twice")
    assert not list((tmp_path / "here").rglob("stop-*"))


FOLDS = (
    f"-m hydra/launcher=basic tracking=off {DATA} {NETWORK} model=multivae study=mine "
    "sweep.n_trials=2 sweep.folds=3 sweep.final_seeds=1 pruner=none patience=null"
).replace("model.n_epochs=4", "model.n_epochs=60")


@pytest.mark.slow
def test_a_sweep_killed_between_folds_has_the_trials_of_one_that_was_not(tmp_path: Path) -> None:
    process = started(tmp_path / "here", FOLDS)
    log = tmp_path / "here" / "sweeps" / "mine" / "trials" / "0000" / "log.txt"
    while not (log.exists() and "fold 2 of 3" in log.read_text()):
        assert process.poll() is None, process.communicate()
        signal.sigtimedwait([], 0.01)
    process.kill()
    process.communicate()
    (half,) = only_study(tmp_path / "here").trials
    assert (half.state.name, len(half.user_attrs["replicates"])) == ("RUNNING", 1)
    for folder in ("here", "whole"):
        again = started(tmp_path / folder, FOLDS)
        _, err = again.communicate(timeout=300)
        assert again.returncode == 0, err
    resumed, whole = (only_study(tmp_path / folder).trials for folder in ("here", "whole"))
    assert resumed[0].user_attrs["n_deaths"] == 1
    for one, other in zip(resumed, whole, strict=True):
        assert one.params == other.params
        assert one.value == other.value
        assert one.user_attrs["replicates"] == other.user_attrs["replicates"]
        assert len(one.user_attrs["replicates"]) == 3


@pytest.mark.slow
def test_two_workers_share_a_study(tmp_path: Path) -> None:
    line = f"-m {DATA} model=ease sweep.n_trials=12 sweep.n_workers=2"
    process = started(tmp_path / "here", line)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    trials = only_study(tmp_path / "here").trials
    assert [trial.number for trial in trials] == list(range(12))
    assert len({trial.user_attrs["worker"] for trial in trials}) == 2
    assert len(of_kind(runs(tmp_path / "here"), "trial")) == 12
    assert "12 of 12 trials done: 12 complete" in out


@pytest.mark.slow
def test_two_backends_are_a_study_each(tmp_path: Path) -> None:
    line = f"-m tracking=off {DATA} model=ease backend=jax,tensorflow sweep.n_trials=2"
    process = started(tmp_path / "here", line)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    names = list(studies(tmp_path / "here"))
    assert [name.rsplit("-", 1)[0] for name in names] == [
        "ease-synthetic-jax", "ease-synthetic-tensorflow",
    ]  # fmt: skip
    assert all(len(study.trials) == 2 for study in studies(tmp_path / "here").values())


def first_trials(folder: Path, launcher: str) -> list[tuple[object, object]]:
    """Parameters and values that two workers under a launcher come to before TPE learns."""
    workers = "sweep.n_trials=6 sweep.n_workers=2 threads=1"
    process = started(folder, f"-m hydra/launcher={launcher} {DATA} model=ease {workers}")
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return [(trial.params, trial.values) for trial in only_study(folder).trials]


@pytest.mark.slow
def test_one_process_and_several_try_the_same(tmp_path: Path) -> None:
    alone = first_trials(tmp_path / "basic", "basic")
    assert alone == first_trials(tmp_path / "joblib", "joblib")
    assert len({str(params) for params, _ in alone}) == 6


# --- names ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of each of two YAMLs for one class."""
    folder = tmp_path_factory.mktemp("own") / "here"
    (folder / "own" / "model").mkdir(parents=True)
    yaml_of_ease = (conf_folder() / "model" / "ease.yaml").read_text(encoding="utf-8")
    assert yaml_of_ease.count("l2: 500.0") == 1
    for model, l2 in (("mild", "5.0"), ("strong", "900.0")):
        text = yaml_of_ease.replace("l2: 500.0", f"l2: {l2}")
        (folder / "own" / "model" / f"{model}.yaml").write_text(text, encoding="utf-8")
        line = f"--config-dir=own {UNTRACKED} model={model} sweep.n_trials=1 sweep.final_seeds=1"
        ended = run_command(folder, line)
        assert ended.code == 0, ended.err
        (best,) = (line for line in ended.out.splitlines() if line.startswith("best "))
        assert best.startswith("best      python -m recsweep --config-dir=own ")
    return folder


@pytest.mark.extended
def test_what_is_printed_of_a_configuration_of_ones_own_can_be_pasted(own_models: Path) -> None:
    (study,) = (path.name for path in (own_models / "sweeps").glob("mild-*"))
    (line,) = run_command(own_models, f"task=best study={study}").out.splitlines()
    pasted = line.removeprefix("python -m recsweep ")
    assert pasted.startswith("--config-dir=own ")
    ended = run_command(own_models, f"{pasted} tracking=off hydra.run.dir=again")
    assert ended.code == 0, ended.err
    first = yaml.safe_load((own_models / "again" / "results" / "overrides.yaml").read_text())[0]
    assert first == "--config-dir=own", "for the command on its page"


@pytest.mark.extended
def test_two_yamls_for_one_class_are_two_models_in_every_name(own_models: Path) -> None:
    found = studies(own_models)
    assert [re.sub("-[0-9a-f]{8}$", "", name) for name in found] == [
        "mild-synthetic", "strong-synthetic",
    ]  # fmt: skip
    ended = run_command(own_models, f"task=compare task.of=[{','.join(found)}] tracking=off")
    assert ended.code == 0, ended.err
    with (own_models / "comparison" / "comparison.csv").open(encoding="utf-8") as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"mild", "strong"}


@pytest.mark.extended
def test_a_trial_and_the_winner_carry_the_name_of_their_model(own_models: Path) -> None:
    for model in ("mild", "strong"):
        (study,) = (own_models / "sweeps").glob(f"{model}-*")
        for file in ("trials/0000/config.yaml", "winner/0000/replicate-0/results/config.yaml"):
            config = yaml.safe_load((study / file).read_text(encoding="utf-8"))
            assert (config["model_name"], model_name(config)) == (model, model)
            assert model_name({"model": config["model"]}) == "ease", "as in older results"
        assert "model_name" not in parameters(of_config(config)), "a name changes no result"


@pytest.mark.extended
def test_two_studies_of_one_command_never_share_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    ended = run_command(folder, f"{UNTRACKED} model=ease,ease study=mine")
    assert_refused(folder, ended, "model=ease and model=ease are both called mine-ease-synthetic")
