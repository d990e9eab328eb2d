"""Two hosts, a database and a tracking server in a network: whatever dies or is cut off, the study
is exact in the end.

Strikes are drawn from a seed; RECSWEEP_FAULT_SEED=7 draws others.
"""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import mlflow
import pytest
import yaml
from faults.audit import audit_runs, shown
from faults.cluster import NAMES, Storm
from faults.processes import wait_until_gone
from mlflow_server import Server
from network import Network
from postgres_server import binaries, mortal_postgres

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's, of SQLAlchemy
]

SEED = int(os.environ.get("RECSWEEP_FAULT_SEED", "1"))
N_SEEDS = 2
STORMS = {  # trials, seconds of an epoch, strikes
    "short": (
        24, 0.5,
        {"worker": 2, "parent": 1, "host": 1, "vanish": 1, "database": 2, "tracker": 1,
         "cut 20": 1, "stop 20": 1},
    ),
    "long": (
        100, 1.0,
        {"worker": 16, "parent": 8, "host": 6, "vanish": 2, "database": 8, "tracker": 4,
         "cut 90": 1, "stop 100": 1},
    ),
}  # fmt: skip


@pytest.fixture
def network() -> Iterator[Network]:
    """Two hosts and a hub, at which the test is."""
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    assert shutil.which("ip"), "iproute2 is not here"
    assert binaries(), "PostgreSQL's initdb and pg_ctl are not here"
    with Network(NAMES) as made, made.inside():
        yield made


def strikes_of(counts: dict[str, int]) -> list[str]:
    """All of them in an order of chance."""
    strikes = [strike for strike, n in counts.items() for _ in range(n)]
    random.Random(SEED).shuffle(strikes)  # noqa: S311 - no secret
    return strikes


@pytest.mark.parametrize("name", ["short", pytest.param("long", marks=pytest.mark.slow)])
def test_hosts_under_fire_lose_nothing(
    name: str, tmp_path: Path, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    n_trials, epoch_s, counts = STORMS[name]
    began = time.monotonic()
    with ExitStack() as stack:
        database = stack.enter_context(mortal_postgres("fsync=off", address=network.address))
        (tmp_path / "server").mkdir()
        tracker = stack.enter_context(Server(tmp_path / "server", network.address))
        arguments = (
            f"sweep.n_trials={n_trials}", f"sweep.final_seeds={N_SEEDS}", "sweep.max_retries=100",
            "sweep.max_failures=0",
        )  # fmt: skip
        chance = random.Random(f"{SEED} victims")  # noqa: S311 - no secret
        storm = Storm(tmp_path, network, database, tracker, arguments, chance, epoch_s)
        storm.run(strikes_of(counts), n_trials)
        found = audit(storm, n_trials)
    with capsys.disabled():
        print(f"\n{name}: {time.monotonic() - began:.0f} s, {storm.n_kills} kills;", end=" ")  # noqa: T201
        print(", ".join(f"{n} {what}" for what, n in (storm.done + found).items()), end="; ")  # noqa: T201
        print("taken over after", ", ".join(f"{s:.0f} s" for s in storm.taken_over_s))  # noqa: T201
    assert {strike: storm.done[strike] for strike in counts} == counts
    assert storm.done["winner"] == 1


def audit(storm: Storm, n_trials: int) -> Counter[str]:
    """Check the study, the tracker and both hosts' results; how many retries and lost runs."""
    for host in storm.hosts.values():
        assert not wait_until_gone(str(host.folder), 20)
    trials = storm.trials()
    assert [trial.number for trial in trials] == list(range(n_trials))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    client = mlflow.MlflowClient(storm.tracker.uri)
    by_kind = audit_runs(client, trials)

    winners = {run.data.tags["recsweep.replicate"]: run for run in by_kind["winner"]}
    assert sorted(winners) == [str(seed) for seed in range(N_SEEDS)]
    assert len(by_kind["winner"]) == N_SEEDS
    assert {run.info.status for run in winners.values()} == {"FINISHED"}
    results = [
        yaml.safe_load((host.study / "results" / "optimization_results.yaml").read_text("utf-8"))
        for host in storm.hosts.values()
    ]
    assert results[0]["test"] == results[1]["test"]
    for written in results:
        looks = {"n_times": N_SEEDS, "n_configurations": 1, "trials": [written["best_trial"]]}
        assert written["test_scored"] == looks
        for index, replicate in enumerate(written["test"]["replicates"]):
            value = winners[str(index)].data.metrics["test_ndcg_at_10"]
            assert value == shown(replicate["test"]["ndcg@10"])
    return Counter(
        retries=sum(trial.user_attrs.get("n_deaths", 0) for trial in trials),
        lost_runs=len(by_kind["superseded"]),
    )
