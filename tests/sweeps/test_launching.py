"""Which launcher runs workers, and what it is told."""

import resource
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from recsweep import environment
from recsweep.errors import InputError
from recsweep.sweeps.execution.worker import Worker
from recsweep.sweeps.launching import (
    _of_slurm,
    _refuse_few_semaphores,
    _reserve,
    default_threads,
    launch,
    launches_with,
)


def config(launcher: dict[str, Any], *typed: str) -> Any:
    """Hydra's configuration, as far as launchers read it."""
    overrides = {"hydra": list(typed), "task": ["a=secret"]}
    return OmegaConf.create({"hydra": {"launcher": launcher, "overrides": overrides, "sweep": {}}})


SLURM = {"_target_": "hydra_plugins.x.SlurmLauncher", "timeout_min": 60, "cpus_per_task": None}
RAY = {"_target_": "hydra_plugins.recsweep_ray.RayLauncher", "num_cpus": None, "num_gpus": None}
JOBLIB = {"_target_": "hydra_plugins.x.JoblibLauncher"}


def test_a_launcher_is_known_by_its_class() -> None:
    assert launches_with(config(SLURM), "SlurmLauncher")
    assert not launches_with(config(SLURM), "Launcher")


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        (JOBLIB, 4), (SLURM, 1), ({**SLURM, "cpus_per_task": 6}, 6), (RAY, 4),
        ({**RAY, "num_cpus": 3}, 3),
    ],
)  # fmt: skip
def test_threads_are_the_cpus_that_a_worker_has(
    launcher: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "n_cores", lambda: 9)
    assert default_threads(config(launcher), 2) == expected


def test_more_workers_than_cores_have_a_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "n_cores", lambda: 2)
    assert default_threads(config(JOBLIB), 8) == 1


@pytest.mark.parametrize(
    ("minutes", "typed", "expected"),
    [(60, [], None), (60, ["hydra.launcher.timeout_min=60"], 60), (20, [], 20)],
)
def test_the_plugins_time_limit_is_not_asked_for(
    minutes: int, typed: list[str], expected: int | None
) -> None:
    own = config({**SLURM, "timeout_min": minutes}, "hydra/launcher=submitit_slurm", *typed)
    assert _of_slurm(own)["timeout_min"] == expected


@pytest.mark.parametrize(
    ("given", "device", "expected"),
    [
        ({}, "auto", (4, None)), ({}, "cpu", (4, 0)), ({"num_cpus": 2}, "auto", (2, None)),
        ({"num_gpus": 0.5}, "cpu", (4, 0.5)),
    ],
)  # fmt: skip
def test_ray_reserves_what_a_worker_uses(
    given: dict[str, Any], device: str, expected: tuple[int, float | None]
) -> None:
    settings = {**RAY, **given}
    _reserve(settings, Worker({"threads": 4, "device": device}).plan)
    assert (settings["num_cpus"], settings["num_gpus"]) == expected


@pytest.mark.parametrize(
    ("named", "expected"), [(JOBLIB, {"n_jobs": 3}), (RAY, {"num_cpus": 4, "num_gpus": 0})]
)
def test_a_launcher_is_told_more_than_what_the_command_line_composes(
    named: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra 1.4 refuses jobs if `hydra.launcher` differs from what it composes."""
    given, told = list[Any](), {**named}
    launcher = SimpleNamespace(
        joblib=told, settings=told, launch=lambda lines, initial_job_idx: lines[initial_job_idx:0]
    )

    def instantiate(_: Plugins, config: Any, hydra_context: Any, task_function: Any) -> Any:
        given.extend([config, hydra_context, task_function])
        return launcher

    monkeypatch.setattr(Plugins, "instantiate_launcher", instantiate)
    own = config(named)
    task = Worker({"threads": 4, "device": "cpu"})
    assert launch(cast("Any", None), own, task, 3, "folder") == []
    assert given[0].hydra.launcher == own.hydra.launcher == named
    assert given[0].hydra.overrides.task == []
    assert given[0].hydra.sweep.dir == "folder"
    assert expected.items() <= told.items()


def test_too_few_semaphores_are_one_line_before_any_worker_starts() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # a semaphore is a file, too
    try:
        with pytest.raises(InputError, match=r"workers need 16 semaphores, .* --shm-size=64m"):
            _refuse_few_semaphores()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _refuse_few_semaphores()
