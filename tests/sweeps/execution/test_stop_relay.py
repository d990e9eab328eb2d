"""What a person types reaches all hosts; what a scheduler sends concerns one."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from plans import toy_plan
from studies import make_study

from recsweep.sweeps.execution.interrupt import StopRequest
from recsweep.sweeps.execution.stop_relay import StopRelay
from recsweep.sweeps.study.shared_study import Plan
from recsweep.sweeps.study.stop_requests import NO_MORE, STOP, counts, request

pytestmark = pytest.mark.usefixtures("handlers_of_python")


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return make_study(tmp_path / "study")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return toy_plan(tmp_path / "toy")


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def test_ctrl_c_goes_to_the_study_and_other_signals_do_not(
    tmp_path: Path, study: optuna.Study, plan: Plan
) -> None:
    with StopRequest(tmp_path) as stop, StopRelay(stop, study, plan):
        signal.raise_signal(signal.SIGTERM)
    assert counts(study) == {STOP: 0, NO_MORE: 0}
    with StopRequest(tmp_path) as stop, StopRelay(stop, study, plan):
        signal.raise_signal(signal.SIGINT)
    assert counts(study) == {STOP: 1, NO_MORE: 0}
    assert str(study.user_attrs[STOP]["reason"]).startswith("Ctrl-C on ")


def test_a_deadline_goes_to_the_study(tmp_path: Path, study: optuna.Study, plan: Plan) -> None:
    late = replace(plan, deadline=time.time())
    with StopRequest(tmp_path) as stop, StopRelay(stop, study, late) as relay:
        assert within(10, lambda: counts(study)[NO_MORE] == 1)
        assert relay.look() is None, "it concerns workers without a parent"
    assert stop.reason is None
    assert counts(study) == {STOP: 0, NO_MORE: 1}


def test_workers_that_leave_ask_nobody(tmp_path: Path, study: optuna.Study, plan: Plan) -> None:
    alone = replace(plan, workers_only=True, deadline=time.time())
    with StopRequest(tmp_path) as stop, StopRelay(stop, study, alone):
        signal.raise_signal(signal.SIGINT)
    assert counts(study) == {STOP: 0, NO_MORE: 0}


@pytest.mark.parametrize("workers_only", [False, True])
def test_a_request_of_another_host_is_one_of_this_command(
    tmp_path: Path, study: optuna.Study, plan: Plan, workers_only: bool
) -> None:
    own = replace(plan, workers_only=workers_only)
    with StopRequest(tmp_path) as stop, StopRelay(stop, study, own) as relay:
        request(study, NO_MORE, "sweep.timeout on b")
        assert relay.look() == ("sweep.timeout on b" if workers_only else None)
        assert not stop.file.exists()
        request(study, STOP, "Ctrl-C on b")
        assert within(10, lambda: stop.reason == "Ctrl-C on b")
        assert within(10, stop.file.exists)
    assert counts(study)[STOP] == 1, "it is not passed on"
    again = replace(own, stops=counts(study))
    with StopRequest(tmp_path) as stop, StopRelay(stop, study, again) as relay:
        assert relay.look() is None
    assert stop.reason is None
