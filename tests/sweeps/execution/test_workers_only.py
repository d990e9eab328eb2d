"""Workers without a parent; hosts that share a database and a tracking server, and nothing else."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
import yaml
from hosts import PATIENCE_S, Host, wait_until
from mlflow_server import Server
from plans import toy_config, toy_space

from recsweep.sweeps.execution import workers_only
from recsweep.sweeps.execution.coordinator import SweepCoordinator
from recsweep.sweeps.execution.setup import StudyRequest
from recsweep.sweeps.execution.worker import plan_of
from recsweep.sweeps.execution.workers_only import WorkersOnly
from recsweep.sweeps.storage.backends import open_storage
from recsweep.sweeps.study.stop_requests import NO_MORE, STOP, request

N_TRIALS, N_SEEDS = 12, 2


class Cluster:
    """Hosts, their database and their tracking server.

    Args:
        folder: For all of them.
        url: The database's address.
        uri: The server's.
    """

    def __init__(self, folder: Path, url: str, uri: str) -> None:
        self.folder, self.url = folder, url
        self.client = mlflow.MlflowClient(uri)
        self.shared = [f"sweep.storage={url}", f"tracking.uri={uri}"]
        self.hosts: list[Host] = []

    def add(self, epoch_s: float = 0.1) -> Host:
        """One more host."""
        host = Host(self.folder / f"host-{len(self.hosts)}", self.shared, epoch_s)
        self.hosts.append(host)
        return host

    @property
    def study(self) -> optuna.Study:
        """What the database has."""
        return optuna.load_study(study_name="hosts", storage=open_storage(self.url, self.folder))

    def runs(self, kind: str | None = None) -> list[Any]:
        """Runs that the server has."""
        names = [each.experiment_id for each in self.client.search_experiments()]
        wanted = f"tags.`recsweep.kind` = '{kind}'" if kind else ""
        return list(self.client.search_runs(names, wanted))

    def wait_for_trials(self, n: int) -> None:
        """Wait until so many have begun."""
        wait_until(lambda: len(self.study.trials) >= n, self.said)

    def said(self) -> str:
        """The ends of what was printed."""
        return "\n".join(f"--- {host.folder.name}\n{host.said()[-3000:]}" for host in self.hosts)

    def is_exact(self) -> None:
        """Assert that every trial was run once, and tracked below one parent."""
        trials = self.study.trials
        assert [trial.number for trial in trials] == list(range(N_TRIALS)), self.said()
        assert {trial.state.name for trial in trials} == {"COMPLETE"}, self.said()
        (parent,) = self.runs("sweep")
        children = self.runs("trial")
        assert sorted(int(run.data.tags["recsweep.trial"]) for run in children) == [
            *range(N_TRIALS)
        ]
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        assert [run for run in self.runs() if run.info.status == "RUNNING"] == []

    def is_scored_once(self) -> None:
        """Assert that the winner was trained once per seed."""
        winners = [run.data.tags["recsweep.replicate"] for run in self.runs("winner")]
        assert sorted(winners) == ["0", "1"], self.said()
        looks = self.study.user_attrs["test_scored"]
        assert len(looks) == N_SEEDS, looks


@pytest.fixture
def cluster(tmp_path: Path, postgres_url: str) -> Iterator[Cluster]:
    (tmp_path / "server").mkdir()
    with Server(tmp_path / "server") as server:
        made = Cluster(tmp_path, postgres_url, server.uri)
        yield made
        for host in made.hosts:
            host.kill()


def summary(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        (host.study / "results" / "optimization_results.yaml").read_text(encoding="utf-8")
    )
    return found


@pytest.mark.postgres
def test_two_hosts_share_a_study_and_each_has_its_results(cluster: Cluster) -> None:
    hosts = [cluster.add(), cluster.add()]
    commands = [host.start() for host in hosts]
    assert [command.wait(PATIENCE_S) for command in commands] == [0, 0], cluster.said()
    cluster.is_exact()
    cluster.is_scored_once()
    assert {trial.user_attrs["parent"]["pid"] for trial in cluster.study.trials} == {
        command.pid for command in commands
    }
    first, second = map(summary, hosts)
    assert first["test"] == second["test"]
    assert first["test"]["standard_error"]["ndcg@10"] > 0, "each has every user's metrics"
    assert first["test_scored"] == {
        "n_times": 2, "n_configurations": 1, "trials": [first["best_trial"]],
    }  # fmt: skip
    tables = [(host.study / "results" / "trials.csv").read_text() for host in hosts]
    assert tables[0] == tables[1]
    assert tables[0].count("complete") == N_TRIALS
    assert all((host.study / "results" / "plots" / "sweep.html").exists() for host in hosts)


@pytest.mark.postgres
def test_workers_alone_leave_the_winner_to_the_parent(cluster: Cluster) -> None:
    alone, parent = cluster.add(), cluster.add()
    assert alone.start("sweep.workers_only=true").wait(PATIENCE_S) == 0, cluster.said()
    cluster.is_exact()
    (run,) = cluster.runs("sweep")
    assert run.info.status == "SCHEDULED"
    assert "workers_only" not in run.data.tags["recsweep.command"]
    assert cluster.runs("winner") == []
    assert not (alone.study / "results").exists()
    assert "test_scored" not in cluster.study.user_attrs
    assert "12 of 12 trials done: 12 complete" in alone.said()

    assert parent.start().wait(PATIENCE_S) == 0, cluster.said()
    cluster.is_exact()
    cluster.is_scored_once()
    assert cluster.runs("sweep")[0].info.run_id == run.info.run_id
    assert cluster.runs("sweep")[0].info.status == "FINISHED"
    assert summary(parent)["trials"]["complete"] == N_TRIALS
    assert alone.start("sweep.workers_only=true").wait(PATIENCE_S) == 0, "nothing is left"

    uploaded = alone.run("task=upload", "task.run=hosts")
    assert "13 runs: all there, nothing to do" in uploaded
    assert "15 runs: all there, nothing to do" in parent.run("task=upload", "task.run=hosts")


@pytest.mark.postgres
def test_a_host_that_vanishes_is_survived_by_another(cluster: Cluster) -> None:
    gone, left = cluster.add(0.3), cluster.add(0.3)
    commands = [gone.start(), left.start("sweep.n_trials=12")]
    wait_until(lambda: bool(workers_of(cluster, commands[0].pid)), cluster.said)
    cluster.wait_for_trials(5)
    gone.kill()
    assert commands[0].wait(10) == -signal.SIGKILL
    assert commands[1].wait(PATIENCE_S) == 0, cluster.said()
    cluster.is_exact()
    cluster.is_scored_once()


def workers_of(cluster: Cluster, pid: int) -> list[int]:
    return [
        trial.number
        for trial in cluster.study.trials
        if trial.user_attrs["parent"]["pid"] == pid and not trial.state.is_finished()
    ]


@pytest.mark.postgres
def test_ctrl_c_at_a_parent_stops_the_workers_of_all_hosts(cluster: Cluster) -> None:
    parent, alone, other = cluster.add(0.5), cluster.add(0.5), cluster.add(0.5)
    typed = parent.start("sweep.n_trials=100")
    cluster.wait_for_trials(1)
    helping, second = alone.start("sweep.workers_only=true"), other.start("sweep.n_trials=100")
    for command in (typed, helping, second):
        wait_until(lambda pid=command.pid: bool(workers_of(cluster, pid)), cluster.said)
    typed.send_signal(signal.SIGINT)
    assert [each.wait(60) for each in (typed, helping, second)] == [130, 0, 130], cluster.said()
    assert "stopped by Ctrl-C; " in parent.said()
    assert alone.count(r"^stopping after this epoch: Ctrl-C on ") == 1
    assert other.count(r"^error|^stopped by Ctrl-C on .*; what was tracked") == 1
    assert [run for run in cluster.runs() if run.info.status == "RUNNING"] == []
    unfinished = [t for t in cluster.study.trials if not t.state.is_finished()]
    assert unfinished
    assert all(trial.user_attrs["is_interrupted"] for trial in unfinished)
    assert not any(trial.user_attrs.get("n_deaths") for trial in cluster.study.trials)


@pytest.mark.postgres
@pytest.mark.parametrize("role", [[], ["sweep.workers_only=true"]])
def test_a_scheduler_that_wants_a_host_back_leaves_the_others_alone(
    cluster: Cluster, role: list[str]
) -> None:
    kept, wanted = cluster.add(0.3), cluster.add(3)  # alone it would be at work for 3 minutes
    command = wanted.start(*role)
    cluster.wait_for_trials(1)
    keeping = kept.start()
    for each in (command, keeping):
        wait_until(lambda pid=each.pid: bool(workers_of(cluster, pid)), cluster.said)
    command.send_signal(signal.SIGTERM)
    assert command.wait(60) == 130, cluster.said()
    assert wanted.count("^workers elsewhere continue; the same command joins") == len(role)
    assert keeping.wait(PATIENCE_S) == 0, cluster.said()
    cluster.is_exact()
    cluster.is_scored_once()


# --- one process ----------------------------------------------------------------------------------

Made = Callable[..., Any]


def in_this_process(task: Any, n: int, folder: str) -> list[dict[str, Any]]:  # noqa: ARG001
    """A launcher that runs one after the other."""
    return [task(None) for _ in range(n)]


@pytest.fixture
def command(config: Any, tmp_path: Path, undrawn: None) -> Made:  # noqa: ARG001
    """A sweep of the toy: three trials at random."""

    def make(
        kind: type[SweepCoordinator], *overrides: str, launch: Any = in_this_process, **model: Any
    ) -> SweepCoordinator:
        alone = f"sweep.workers_only={kind is WorkersOnly}".lower()
        usual = (f"sweep.folder={tmp_path}/sweeps", "sampler=random", "pruner=none", alone)
        small = ("sweep.n_trials=3", "sweep.final_seeds=1")
        toy = toy_config(tmp_path, *usual, *small, *overrides, **model)
        wanted = StudyRequest("toy", toy, [], lambda: toy_space(toy), launch, "python -m recsweep")
        return kind(wanted.check())

    return make


def test_workers_wait_for_a_journal_and_create_none(
    command: Made,
    tmp_path: Path,
    refused: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workers_only, "PATIENCE_S", 1.0)
    with refused("sweep.workers_only=true needs a study that exists, but there is no", "journal"):
        command(WorkersOnly)
    journal = tmp_path / "sweeps" / "toy" / "journal.log"
    assert capsys.readouterr().err == (
        f"waiting up to 1 s for {journal}, which another command creates\n"
    )
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize(
    "storage", ["null", pytest.param("sqlite:///{}/sweeps.db", marks=pytest.mark.extended)]
)
def test_workers_run_what_the_parent_has_planned_and_leave_the_rest(
    command: Made, tmp_path: Path, storage: str
) -> None:
    place = f"sweep.storage={storage.format(tmp_path)}"
    parent = command(SweepCoordinator, place, "sweep.n_trials=4")
    alone = command(WorkersOnly, place)
    alone.help_out()
    assert [trial.state.name for trial in parent.study.trials()] == 4 * ["COMPLETE"]
    assert not (tmp_path / "sweeps" / "toy" / "results").exists()
    assert "test_scored" not in parent.study.study.user_attrs
    assert parent.run().test is not None
    assert parent.study.study.user_attrs["n_trials"] == 4


@pytest.mark.extended
def test_too_many_failures_end_workers_without_an_error(command: Made, tmp_path: Path) -> None:
    place = f"sweep.storage=sqlite:///{tmp_path}/sweeps.db"
    alone = command(WorkersOnly, place, "sweep.max_failures=1", breaks="a fault")
    alone.help_out()
    assert [trial.state.name for trial in alone.study.trials()] == ["FAIL", "FAIL"]
    alone.help_out()


def asked_first(kind: str, reason: str) -> Any:
    """A launcher whose workers start after a request."""

    def launch(task: Any, n: int, folder: str) -> list[dict[str, Any]]:
        plan = plan_of(task)
        storage = open_storage(plan["storage"], Path(plan["folder"]))
        request(optuna.load_study(study_name="toy", storage=storage), kind, reason)
        return in_this_process(task, n, folder)

    return launch


@pytest.mark.extended
def test_workers_begin_no_trial_once_the_parent_is_late(command: Made, tmp_path: Path) -> None:
    place = f"sweep.storage=sqlite:///{tmp_path}/sweeps.db"
    launch = asked_first(NO_MORE, "sweep.timeout on b")
    alone = command(WorkersOnly, place, launch=launch)
    alone.help_out()
    assert alone.study.trials() == []
    parent = command(SweepCoordinator, place, launch=launch).run()
    assert parent.status.count("complete") == 3, "another parent has its own limits"


@pytest.mark.extended
def test_ctrl_c_on_another_host_ends_both_kinds_of_commands(command: Made, tmp_path: Path) -> None:
    place = f"sweep.storage=sqlite:///{tmp_path}/sweeps.db"
    launch = asked_first(STOP, "Ctrl-C on b")
    alone = command(WorkersOnly, place, launch=launch)
    alone.help_out()
    assert alone.study.trials() == []
    with pytest.raises(KeyboardInterrupt, match=r"^Ctrl-C on b$"):
        command(SweepCoordinator, place, launch=launch).run()
    assert alone.study.trials() == []
    assert command(SweepCoordinator, place).run().status.count("complete") == 3
