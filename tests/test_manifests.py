"""docker-compose.yml and docs/kubernetes.yaml: their schemas, and that their commands are ours.

Neither Docker nor Kubernetes is here to run them.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsweep.command_line import compose_config

ROOT = Path(__file__).resolve().parent.parent
COMPOSE, JOB = ROOT / "docker-compose.yml", ROOT / "docs" / "kubernetes.yaml"
ONLY = "sweep.workers_only=true"


def commands() -> dict[str, list[str]]:
    """Name -> arguments of every container that runs a sweep."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    return {
        "sweep": services["sweep"]["command"],
        "worker": services["worker"]["command"],
        "pod": container["args"],
    }


def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(JOB.read_text())
    return found


def test_the_compose_file_keeps_to_the_published_schema() -> None:
    pytest.importorskip("check_jsonschema", reason="the extra dev is not installed")
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_manifest_keeps_to_the_schema_of_kubernetes() -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="the extra dev is not installed"
    )
    kubernetes_validate.validate(job(), "1.33", strict=True)
    wrong = job()
    wrong["spec"]["completion"] = 8
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_the_manifest_is_an_indexed_job_that_survives_evictions() -> None:
    spec = job()["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "a podFailurePolicy needs it"
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore"


@pytest.mark.parametrize("name", ["sweep", "worker", "pod"])
def test_a_container_runs_a_command_that_composes(name: str) -> None:
    multirun, *overrides = commands()[name]
    assert multirun == "-m"
    config = compose_config(*(each for each in overrides if each != ONLY))
    assert config["sweep"]["storage"].startswith("postgresql+psycopg://")
    assert config["tracking"]["uri"].startswith("http://")
    assert config["threads"], "the same on every host"


def test_workers_run_the_command_of_the_sweep_and_no_parent() -> None:
    found = commands()
    assert found["worker"] == [*found["sweep"], ONLY]
    assert found["pod"][-1] == ONLY


def test_no_password_is_written_down() -> None:
    for file in (COMPOSE, JOB):
        addresses = [word for word in file.read_text().split() if "://" in word]
        assert addresses
        assert not any("@" in address for address in addresses)
