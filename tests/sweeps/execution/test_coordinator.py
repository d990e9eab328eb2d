"""The parent: it continues until all is done, says what it came to, and breaks off politely."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest
import yaml
from plans import Toy, toy_config, toy_space
from studies import COMPLETE, FAIL

from recsweep import app
from recsweep.errors import InputError
from recsweep.sweeps.execution import device_errors
from recsweep.sweeps.execution.coordinator import ENDED, SweepCoordinator
from recsweep.sweeps.execution.setup import StudyRequest
from recsweep.sweeps.execution.worker import FinalWorker, Worker
from recsweep.sweeps.study.claims import next_claim
from recsweep.sweeps.study.final_scores import TEST_SCORED
from recsweep.sweeps.study.shared_study import CPUS, PARENT_RUN, Plan, SharedStudy
from recsweep.sweeps.study.stop_requests import NO_MORE, counts
from recsweep.tracking import NullTracker

pytestmark = pytest.mark.usefixtures("undrawn")

Config = Callable[..., dict[str, Any]]
Made = Callable[..., SweepCoordinator]
SMALL = {"sweep.n_trials": 3, "sweep.final_seeds": 2}


def in_this_process(task: Any, n: int, folder: str) -> list[dict[str, Any]]:  # noqa: ARG001
    """A launcher that runs one after the other."""
    return [task(None) for _ in range(n)]


@pytest.fixture
def parent(config: Config, tmp_path: Path) -> Made:  # noqa: ARG001 - puts the environment back
    """A sweep of the toy: three trials at random."""

    def make(*overrides: str, launch: Any = in_this_process, **model: Any) -> SweepCoordinator:
        usual = (f"sweep.folder={tmp_path}/sweeps", "sampler=random", "pruner=none")
        names = {line.partition("=")[0] for line in overrides}
        small = [f"{name}={n}" for name, n in SMALL.items() if name not in names]
        toy = toy_config(tmp_path, *usual, *small, *overrides, **model)
        search = StudyRequest(
            "toy", toy, ["model=toy"], lambda: toy_space(toy), launch, "the command"
        )
        return SweepCoordinator(search.check())

    return make


def results(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "sweeps" / "toy" / "results" / "optimization_results.yaml"
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded


def test_a_sweep_ends_with_the_winners_score_on_test(
    parent: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = parent().run()
    status, test = outcome.status, outcome.test
    assert (status.n_finished, status.count("complete")) == (3, 3)
    assert test is not None
    assert outcome.looks.plain() == {"n_times": 2, "n_configurations": 1, "trials": [0]}
    assert results(tmp_path)["test_scored"] == outcome.looks.plain()
    assert results(tmp_path)["test"]["mean"] == test.test.means
    assert results(tmp_path)["resume"] == "the command"
    printed = capsys.readouterr()
    assert "3 of 3 trials done: 3 complete, 0 pruned, 0 failed" in printed.out
    assert "winner: trial 0, trained again with seeds 42, 43\n" in printed.out
    assert "test was scored 2 times for this study (trial 0)\n" in printed.out
    assert "resume  " not in printed.out  # nothing is left
    assert f"study     toy in {tmp_path}/sweeps/toy\ndata      synthetic: " in printed.err
    assert " to validate, " in printed.err.splitlines()[1]
    name, n_trials, objective, validation, default, score = outcome.cells()
    assert (name, n_trials, objective) == ("toy", "3", "ndcg@10")
    assert validation == default == f"{status.front[0].values[0]:.4f}"
    assert score.startswith(f"{test.test.means['ndcg@10']:.4f} ± ")


def nothing(*_: object) -> list[dict[str, Any]]:
    raise AssertionError("nothing was to be launched")


def test_a_finished_study_launches_nothing(
    parent: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    first = parent().run()
    table = capsys.readouterr().out
    again = parent(launch=nothing).run()
    assert (again.status, again.looks) == (first.status, first.looks)
    assert capsys.readouterr().out == table


def test_what_a_death_left_undone_at_the_very_end_is_done(parent: Made) -> None:
    one = parent()
    one.run()
    one.study.study.set_user_attr(ENDED, None)  # it died before it could note the end
    assert parent(launch=nothing).run().status.n_finished == 3
    assert one.study.study.user_attrs[ENDED] == 3


def test_more_trials_go_on(parent: Made) -> None:
    first = parent().run().status
    more = parent("sweep.n_trials=5").run().status
    assert more.n_finished == more.n_trials == 5
    assert [row.params for row in more.rows[:3]] == [row.params for row in first.rows]


@pytest.mark.extended
def test_another_configuration_is_refused(parent: Made) -> None:
    parent().run()
    with pytest.raises(InputError, match=r"study toy: seed was 42 and is 1; revert that"):
        parent("seed=1")


@pytest.mark.extended
def test_a_sweep_keeps_its_slots(parent: Made, refused: Any) -> None:
    first = parent("sweep.slots=2").run()
    assert first.test is not None
    with refused("sweep.slots must not change", "toy runs with 2 and sweep.slots is 3"):
        parent("sweep.slots=3")
    assert parent("sweep.n_trials=5").run().status.n_finished == 5
    assert parent("sweep.n_trials=5").study.agreed_slots == 2


def test_too_many_failures_end_it_with_the_last_reason(parent: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        parent("sweep.max_failures=1", "sweep.n_trials=9", breaks="a fault").run()
    assert str(caught.value) == (
        "at most sweep.max_failures=1 trials may fail, but 2 did, the last one because "
        f"ZeroDivisionError: a fault (see {tmp_path}/sweeps/toy/trials/0001/log.txt); fix it and "
        "add sweep.retry_failed=true to retry them, or raise sweep.max_failures"
    )
    with pytest.raises(InputError, match=r"^at most sweep\.max_failures=1 trials"):
        parent("sweep.max_failures=1", "sweep.n_trials=2", breaks="a fault", launch=nothing).run()


def test_a_study_whose_trials_all_failed_ends_with_an_error_and_the_place_of_the_log(
    parent: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for launch in (in_this_process, nothing):  # the second time it only says so
        with pytest.raises(InputError) as caught:
            parent(breaks="a fault", launch=launch).run()
        log = tmp_path / "sweeps" / "toy" / "trials" / "0002" / "log.txt"
        assert str(caught.value) == (
            "at least one trial of toy must be complete, but 3 of 3 failed, the last one because "
            f"ZeroDivisionError: a fault (see {log}); fix it and add sweep.retry_failed=true "
            "to retry them"
        )
        assert "raise ZeroDivisionError(self.breaks)" in log.read_text()
        said = "3 of 3 trials done: 0 complete, 0 pruned, 3 failed"
        assert said in capsys.readouterr().out
    assert results(tmp_path)["trials"]["failed"] == 3


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A cause outside of the configuration: `full` trials of the toy's fail."""
    state, fit = {"full": True}, Toy.fit

    def refuses(self: Toy, *arguments: Any) -> None:
        if state["full"] and self.quality < 0.9:  # all but the default
            raise MemoryError("the memory is full")
        fit(self, *arguments)

    monkeypatch.setattr(Toy, "fit", refuses)
    return state


@pytest.mark.extended
def test_trials_that_failed_are_run_again_as_they_were(
    parent: Made, tmp_path: Path, memory: dict[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    first = parent("sweep.n_trials=4").run().status
    failed = [row.number for row in first.rows if row.state == "failed"]
    assert 0 < len(failed) < 4
    log = tmp_path / "sweeps" / "toy" / "trials" / f"{failed[-1]:04d}" / "log.txt"
    assert (
        f"failed    {len(failed)} trial{'s' * (len(failed) > 1)}, the last one because "
        f"MemoryError: the memory is full (see {log}); sweep.retry_failed=true retries them\n"
    ) in capsys.readouterr().out
    again = parent("sweep.n_trials=4", launch=nothing).run()
    assert again.status == first, "nobody asked for it"
    still = parent("sweep.n_trials=4", "sweep.retry_failed=true").run().status
    assert [row.state for row in still.rows] == [row.state for row in first.rows], "once a command"

    memory["full"] = False
    asked = parent("sweep.n_trials=4", "sweep.retry_failed=true")
    done = asked.run().status
    assert (done.n_finished, done.count("complete"), done.n_trials) == (4, 4, 4)
    assert [row.number for row in done.rows] == list(range(4))
    assert [row.settings for row in done.rows] == [row.settings for row in first.rows]
    assert len(asked.study.study.get_trials()) == 4 + 2 * len(failed), "Optuna's numbers continue"
    assert (
        results(tmp_path)["trials"] | {"finished": 4, "complete": 4, "failed": 0}
        == (results(tmp_path)["trials"])
    )
    assert "failed    " not in capsys.readouterr().out.rpartition("rank")[2]
    parent("sweep.n_trials=4", launch=nothing).run()

    more = parent("sweep.n_trials=6").run().status
    assert more.n_finished == 6
    shutil.rmtree(tmp_path / "sweeps" / "toy")
    calm = parent("sweep.n_trials=6").run().status
    assert [row.settings for row in more.rows] == [row.settings for row in calm.rows]
    assert [row.values for row in more.rows] == [row.values for row in calm.rows]


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
@pytest.mark.usefixtures("undrawn")
def test_the_sweeps_curve_has_one_point_per_step_after_retries_and_more_trials(
    parent: Made, tmp_path: Path, memory: dict[str, bool]
) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = ("tracking=mlflow", f"tracking.uri={uri}", "sweep.final_seeds=0")
    client = mlflow.MlflowClient(uri)
    curves = []
    for is_full, overrides in (
        (True, ("sweep.n_trials=4",)),
        (False, ("sweep.n_trials=4", "sweep.retry_failed=true")),
        (False, ("sweep.n_trials=6",)),
    ):
        memory["full"] = is_full
        coordinator = parent(*tracked, *overrides)
        best = coordinator.run().status.best
        history = client.get_metric_history(coordinator.spec.tracker.run_id, "best/ndcg_at_10")
        curves.append([(point.step, point.value) for point in sorted(history, key=step_of)])
        assert best is not None
        assert curves[-1][-1][1] == best.values[0]
    n_failed = 4 - len(curves[0])
    assert n_failed > 0
    assert [step for step, _ in curves[1][len(curves[0]) :]] == [5 + i for i in range(n_failed)]
    assert [step for step, _ in curves[2][4:]] == [5 + n_failed, 6 + n_failed]
    assert curves[2][:4] == curves[1]
    assert curves[1][: len(curves[0])] == curves[0]


def step_of(point: Any) -> int:
    return int(point.step)


@pytest.mark.extended
def test_a_sweep_that_had_too_many_failures_can_run_them_again(
    parent: Made, memory: dict[str, bool]
) -> None:
    with pytest.raises(InputError, match=r"^at most sweep\.max_failures=0 trials may fail"):
        parent("sweep.n_trials=4", "sweep.max_failures=0").run()
    memory["full"] = False
    done = parent("sweep.n_trials=4", "sweep.max_failures=0", "sweep.retry_failed=true").run()
    assert done.status.count("complete") == 4


def test_workers_that_do_nothing_are_no_endless_loop(parent: Made) -> None:
    def broken(*_: object) -> list[dict[str, Any]]:
        return [{"error": "no space left"}]

    with pytest.raises(InputError, match=r"but none ran \(no space left\); fix it and re-run"):
        parent(launch=broken).run()


@pytest.mark.extended
def test_a_launcher_that_breaks_is_used_again(parent: Made) -> None:
    calls = []

    def breaks_once(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        calls.append(task)
        if len(calls) == 1:  # a trial is begun, then its process dies with the pool
            claim = next_claim(SharedStudy(Plan(**task.plan)))
            assert claim is not None
            claim.lease.release()
            raise RuntimeError("a process\nin the pool was terminated abruptly")
        return in_this_process(task, n, folder)

    status = parent(launch=breaks_once).run().status
    assert [row.state for row in status.rows] == 3 * ["complete"]
    assert [type(task) for task in calls] == [Worker, Worker, FinalWorker]


@pytest.mark.extended
def test_a_winner_whose_process_dies_is_a_line_and_is_trained_by_the_next_command(
    parent: Made,
) -> None:
    def breaks_last(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        if isinstance(task, FinalWorker):
            raise RuntimeError("terminated")  # noqa: TRY004
        return in_this_process(task, n, folder)

    with pytest.raises(InputError) as caught:
        parent(launch=breaks_last).run()
    assert str(caught.value) == (
        "the winner, trial 0, must be retrained for test, but RuntimeError: terminated; fix "
        "it and re-run the same command"
    )
    assert parent().run().test is not None


@pytest.mark.extended
def test_test_is_not_scored_for_another_trial_unless_it_is_asked_for(
    parent: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = parent("sweep.n_trials=1", quality=0.1).run()
    assert first.test is not None
    capsys.readouterr()
    more = parent("sweep.n_trials=4", quality=0.1).run()
    assert more.status.best is not None
    assert more.status.best.number != 0
    assert (more.test, more.looks) == (None, first.looks)
    assert results(tmp_path)["test"] is None
    assert (
        f"test was scored for trial 0 of this study before, and trial {more.status.best.number} "
        "is better on validation now; sweep.score_another=true scores it too"
    ) in capsys.readouterr().out
    again = parent("sweep.n_trials=4", quality=0.1, launch=nothing).run()
    assert again.test is None
    asked = parent("sweep.n_trials=4", "sweep.score_another=true", quality=0.1).run()
    assert asked.test is not None
    assert asked.test.test.means != first.test.test.means
    assert asked.looks.plain() == {
        "n_times": 4, "n_configurations": 2, "trials": [0, more.status.best.number],
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert (
        f"test was scored 4 times for this study (trials 0, {more.status.best.number})" in printed
    )


@pytest.mark.extended
def test_more_seeds_are_trained_without_those_that_are_there(
    parent: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    first = parent().run().test
    assert "retraining the winner with 2 seeds to score it on test" in capsys.readouterr().err
    more = parent("sweep.final_seeds=3").run()
    assert "retraining the winner with 1 of 3 seeds to score it" in capsys.readouterr().err
    assert first is not None
    assert more.test is not None
    assert more.test.replicates[:2] == first.replicates
    assert [each["seed"] for each in more.test.replicates] == [42, 43, 44]
    assert more.looks.n_times == 3


def test_without_seeds_test_is_not_looked_at(
    parent: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = parent("sweep.final_seeds=0").run()
    assert (outcome.test, outcome.looks.n_times) == (None, 0)
    assert "test is not scored, since sweep.final_seeds=0" in capsys.readouterr().out


@pytest.mark.extended
def test_the_winner_becomes_a_version_of_a_registered_model(parent: Made, tmp_path: Path) -> None:
    import mlflow

    tracked = ("tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    parent("sweep.register=shop", *tracked).run()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (version,) = client.search_model_versions("name = 'shop'")
    run = client.get_run(version.run_id)
    assert (run.data.tags["recsweep.kind"], run.data.tags["recsweep.replicate"]) == ("winner", "0")


@pytest.mark.parametrize(
    "line", [["sweep.register=a/b"], ["sweep.register=shop", "sweep.final_seeds=0"]]
)
def test_a_model_that_could_not_be_registered_is_refused_before_any_trial(
    parent: Made, tmp_path: Path, line: list[str]
) -> None:
    tracked = ("tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(InputError, match=r"^sweep\.register"):
        parent(*line, *tracked)
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.extended
def test_a_stop_between_two_seeds_keeps_what_is_done(parent: Made) -> None:
    def stops(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        if isinstance(task, FinalWorker):
            task = replace(task, trainings=task.trainings[:1])
            done = in_this_process(task, n, folder)
            signal.raise_signal(signal.SIGINT)
            return done
        return in_this_process(task, n, folder)

    with pytest.raises(KeyboardInterrupt):
        parent(launch=stops).run()
    calls = []

    def counts(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        calls.append([training["index"] for training in task.trainings])
        return in_this_process(task, n, folder)

    outcome = parent(launch=counts).run()
    assert calls == [[1]]
    assert outcome.looks.n_times == 2


def test_ctrl_c_keeps_the_study_and_says_how_to_go_on(
    parent: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupted(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        signal.raise_signal(signal.SIGINT)
        return in_this_process(task, n, folder)

    with pytest.raises(KeyboardInterrupt, match=r"^Ctrl-C$"):
        parent(launch=interrupted).run()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-2:] == [
        "0 of 3 trials done: 0 complete, 0 pruned, 0 failed",
        "resume    the command",
    ]
    assert len(re.findall("^0 of 3 .*0 failed", printed.err, re.MULTILINE)) == 1, "counted once"
    assert signal.getsignal(signal.SIGINT) == before
    assert not list((tmp_path / "sweeps").rglob("stop-*"))
    assert parent().run().status.n_finished == 3


def test_ctrl_c_twice_says_it_too(parent: Made, capsys: pytest.CaptureFixture[str]) -> None:
    def twice(*_: object) -> list[dict[str, Any]]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return []

    with pytest.raises(KeyboardInterrupt, match="SIGTERM, twice"):
        parent(launch=twice).run()
    assert capsys.readouterr().err.splitlines()[-1] == "resume    the command"


@pytest.mark.extended
def test_a_trial_that_is_cut_off_by_ctrl_c_twice_has_not_died(parent: Made) -> None:
    claims = []

    def cut_off(task: Any, *_: object) -> list[dict[str, Any]]:
        claims.append(next_claim(SharedStudy(Plan(**task.plan))))
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return []

    for n_times in range(1, 5):  # more often than a process may die
        with pytest.raises(KeyboardInterrupt):
            parent("sweep.max_retries=1", launch=cut_off).run()
        claims[-1].lease.release()
        (trial,) = parent().study.trials()
        assert len(claims) == n_times
        assert trial.user_attrs["is_interrupted"] is True
        assert trial.user_attrs.get("n_deaths", 0) == 0
    assert parent("sweep.max_retries=1").run().status.count("complete") == 3


@pytest.mark.extended
def test_a_sweep_logs_the_machines_load_until_the_winner_is_scored(
    parent: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    @contextmanager
    def monitored(_: NullTracker, is_on_gpu: Callable[[], bool | None]) -> Iterator[None]:
        told.append(is_on_gpu())
        yield
        told.append((is_on_gpu(), len(one.study.study.user_attrs[TEST_SCORED])))

    monkeypatch.setattr(NullTracker, "monitored", monitored)
    one = parent()
    one.run()
    outer = [told[0], told[-1]]
    assert outer == [None, (False, 2)], "a CPU, once the first worker has noted it"
    assert told[1:-1] == [False, (False, 1), False, (False, 2)], "the winner's two trainings"


def in_a_new_process(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
    """A launcher whose processes do not know what the device did to others."""
    device_errors._lost.clear()
    return in_this_process(task, n, folder)


def losing_device(monkeypatch: pytest.MonkeyPatch, below: float) -> None:
    """Have trials lose their device whose quality is below a value."""
    score = Toy.score

    def lost(toy: Toy, history: Any) -> Any:
        if toy.quality < below:
            raise jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS")
        return score(toy, history)

    monkeypatch.setattr(Toy, "score", lost)


@pytest.mark.extended
def test_a_trial_that_loses_every_device_fails_and_the_others_finish(
    parent: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losing_device(monkeypatch, below=0.3)
    one = parent("sweep.max_retries=1", launch=in_a_new_process, quality=0.2)  # trial 0
    assert one.run().status.count("failed") == 1
    states = [trial.state for trial in one.study.trials()]
    assert states == [FAIL, COMPLETE, COMPLETE]
    reason = one.study.trials()[0].user_attrs["reason"]
    assert reason.startswith("its process died or the device was lost (INTERNAL: CUDA_ERROR_ILL")
    assert reason.endswith(") 2 times; see sweep.max_retries")
    assert capsys.readouterr().err.count("warning: a worker ended: the device was lost (") == 2


@pytest.mark.extended
@pytest.mark.parametrize("launch", [in_a_new_process, in_this_process])
def test_a_sweep_without_a_device_that_works_ends_with_one_line(
    parent: Made, monkeypatch: pytest.MonkeyPatch, refused: Any, launch: Any
) -> None:
    monkeypatch.setattr(device_errors, "_lost", {})
    losing_device(monkeypatch, below=2.0)
    one = parent("sweep.max_retries=1", launch=launch)
    said = "the device was lost 3 times in a row (INTERNAL: "
    with refused(said, "CUDA_ERROR_ILLEGAL_ADDRESS", "re-run the same command"):
        one.run()
    monkeypatch.undo()
    device_errors._lost.clear()
    assert parent().run().status.count("complete") >= 2


def test_the_winner_is_trained_again_where_the_device_was_lost(
    parent: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, trainings = app.run_job, []

    def lost(job: app.Job) -> None:
        trainings.append(1)
        if len(trainings) == 1:
            raise jax.errors.JaxRuntimeError("UNAVAILABLE: connection closed")
        run(job)

    monkeypatch.setattr(app, "run_job", lost)
    one = parent(launch=in_a_new_process)
    test = one.run().test
    assert test is not None
    assert len(test.replicates) == len(one.study.study.user_attrs[TEST_SCORED]) == 2
    assert len(trainings) == 3


def test_trials_of_another_terminal_are_not_cut_off(parent: Made) -> None:
    one = parent()
    elsewhere = {**one.study.plan.parent_process, "pid": 1}
    claim = next_claim(SharedStudy(replace(one.study.plan, parent_process=elsewhere)))
    assert claim is not None
    one.study.interrupt()
    assert "is_interrupted" not in one.study.trials()[0].user_attrs
    claim.lease.release()


@pytest.mark.extended
@pytest.mark.parametrize("storage", ["null", "sqlite:///{}/sweeps.db"])
def test_a_deadline_leaves_the_rest_for_the_next_command(
    parent: Made, tmp_path: Path, storage: str
) -> None:
    place = f"sweep.storage={storage.format(tmp_path)}"
    outcome = parent("sweep.timeout=1e-6", place).run()
    assert (outcome.status.n_finished, outcome.test) == (0, None)
    assert results(tmp_path)["trials"]["finished"] == 0
    assert parent(place).run().status.n_finished == 3


def test_an_exhausted_space_is_the_end(parent: Made) -> None:
    one = parent("sweep.n_trials=9")
    config = one.study.space.branches[0].config
    space = toy_space(config, "model.quality=0.25,0.75").plain()
    settings = replace(
        one.spec.settings, sampler={"_target_": "recsweep.sweeps.sampling.samplers.Grid"}
    )
    grid = SweepCoordinator(replace(one.spec, space=space, settings=settings))
    assert grid._status().n_trials == 2  # known before the first trial
    assert grid.study.study.user_attrs["n_trials"] == 2
    outcome = grid.run()
    assert (outcome.status.n_finished, outcome.status.n_trials) == (2, 2)


# --- other hosts, with a database and folders of their own ----------------------------------------


@pytest.fixture
def host(parent: Made, tmp_path: Path) -> Made:
    """The same on a host of its own, which shares a database alone."""

    def make(name: str, *overrides: str, **more: Any) -> SweepCoordinator:
        shared = f"sweep.storage=sqlite:///{tmp_path}/sweeps.db"
        return parent(shared, f"sweep.folder={tmp_path}/{name}", *overrides, **more)

    return make


@pytest.mark.extended
def test_a_second_host_does_not_train_the_winner_again(host: Made, tmp_path: Path) -> None:
    first = host("a").run()
    second = host("b", launch=nothing).run()
    assert (second.status, second.looks) == (first.status, first.looks)
    assert first.test is not None
    assert second.test is not None
    assert second.test.replicates == first.test.replicates
    for fold in ("valid", "test"):
        ours, theirs = getattr(first.test, fold), getattr(second.test, fold)
        assert theirs.means == pytest.approx(ours.means, rel=1e-12), "sums in another order"
        assert theirs.standard_errors == {}, "which need each user's metrics"
        assert theirs.summary()["n_users"] == ours.summary()["n_users"]
    tables = [tmp_path / name / "toy" / "results" / "trials.csv" for name in "ab"]
    assert tables[0].read_text() == tables[1].read_text()

    calls = []

    def noted(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        calls.append([training["index"] for training in task.trainings])
        return in_this_process(task, n, folder)

    host("b").study.study.set_user_attr(ENDED, None)
    more = host("b", "sweep.final_seeds=3", launch=noted).run()
    assert calls == [[2]]
    assert more.looks.n_times == 3
    assert more.test is not None
    assert [each["seed"] for each in more.test.replicates] == [42, 43, 44]


@pytest.mark.extended
def test_a_second_host_gets_the_winners_files_from_the_tracking_store(
    host: Made, tmp_path: Path
) -> None:
    tracked = ("tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    first = host("a", *tracked).run()
    one = host("b", *tracked, launch=nothing)
    half = tmp_path / "b" / "toy" / "winner" / "0000" / "replicate-1" / "log.txt"
    half.parent.mkdir(parents=True)
    half.touch()  # this host died in a training that another one did
    second = one.run()
    assert first.test is not None
    assert second.test is not None
    assert second.test.plain() == first.test.plain()
    assert second.test.test.per_user.equals(first.test.test.per_user)
    replicate = tmp_path / "b" / "toy" / "winner" / "0000" / "replicate-0"
    assert (replicate / "stdout.txt").read_text().startswith("trained on another host, in run ")
    own = {f.name for f in (tmp_path / "a" / replicate.relative_to(tmp_path / "b")).glob("*/*")}
    assert {f.name for f in replicate.glob("*/*")} == own


@pytest.mark.extended
def test_the_study_names_the_run_that_later_commands_take(host: Made, tmp_path: Path) -> None:
    import mlflow

    tracked = ("tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    one = host("a", *tracked)
    one.run()
    named = one.study.study.user_attrs[PARENT_RUN]
    assert named == one.spec.tracker.run_id
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.set_tag(named, "recsweep.study", "renamed")  # only the study knows it now
    again = host("b", *tracked, "sweep.n_trials=4")
    again.run()
    assert again.spec.tracker.run_id == named
    client.delete_run(named)
    third = host("b", *tracked, "sweep.n_trials=5")
    third.run()
    assert third.study.study.user_attrs[PARENT_RUN] == third.spec.tracker.run_id != named


@pytest.mark.extended
def test_a_host_that_may_not_work_on_the_study_ends_with_the_reason(
    host: Made, refused: Any
) -> None:
    one = host("a", "sweep.n_trials=2")
    others = next_claim(SharedStudy(one.study.plan))
    assert others is not None, "which runs on, so that another error would be waited out"
    one.study.study.set_user_attr(CPUS, ["an abacus"])
    with refused("sweep.require_same_cpu=true needs the CPU type that toy started on, an abacus"):
        host("b", "sweep.n_trials=2", "sweep.require_same_cpu=true").run()
    others.lease.release()
    assert host("b", "sweep.n_trials=2").run().status.count("complete") == 2


def test_too_many_failures_are_told_to_workers_of_other_hosts(host: Made) -> None:
    one = host("a", "sweep.max_failures=1", "sweep.n_trials=9", breaks="a fault")
    with pytest.raises(InputError, match=r"^at most sweep\.max_failures=1"):
        one.run()
    assert counts(one.study.study)[NO_MORE] == 1


def test_a_worker_with_other_data_than_the_studys_ends_with_the_reason(
    host: Made, refused: Any
) -> None:
    def elsewhere(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        study = one.study.study
        identity = study.user_attrs["identity"]
        fingerprint = {**identity["fingerprint"], "split": "0" * 64}
        study.set_user_attr("identity", {**identity, "fingerprint": fingerprint})
        return in_this_process(task, n, folder)

    one = host("a", launch=elsewhere)
    with refused("all hosts must have the split that toy started with", "is 000000000000 there"):
        one.run()
    assert one.study.trials() == []


@pytest.mark.extended
def test_a_winner_whose_files_are_elsewhere_is_not_registered(
    host: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host("a").run()
    tracked = ("tracking=mlflow", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    one = host("b", *tracked, "sweep.register=shop", "sweep.n_trials=3")
    one.study.study.set_user_attr(ENDED, None)
    one.run()
    said = "warning: the winner is not registered: its files are on another host"
    assert said in capsys.readouterr().err
