"""Without tracking: nothing is loaded, nothing is written."""

from pathlib import Path

import pytest
from mlflow_runs import start

from recsweep.errors import InputError
from recsweep.tracking import NullTracker


def test_without_tracking_mlflow_is_not_loaded_and_nothing_is_written(tmp_path: Path) -> None:
    code = """
import sys
from recsweep.interfaces import Part
from recsweep.tracking import NullTracker
with NullTracker() as one:
    one.refuse_unusable()
    one.kept_in("anywhere")
    one.log_settings({"a": 1}, {})
    one.log_data("d", "f", {})
    one.log_metrics({"m": 1.0})
    one.log_artifacts("anything")
    one.set_note("a note")
    one.end("KILLED", "why")
one.named("a").open_sweep("s", "a sweep", {"a": 1}, {})
with one.nested(one.run_id, "s", Part(3), "a trial") as trial:
    trial.log_metrics({"m": 1.0}, step=1)
assert one.tidy("s", lambda part, run_id: ("KILLED", "")) == 0
one.close_sweep("FINISHED")
assert (one.ui_command, one.ui_command_of("a"), one.link("a")) == ("", "", "")
print(one.run_id, one.lost, "mlflow" in sys.modules)
"""
    process = start(tmp_path, code)
    assert process.communicate(timeout=300) == ("None None False\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_silent_tracker_lets_errors_through() -> None:
    with pytest.raises(ZeroDivisionError), NullTracker():
        raise ZeroDivisionError


def test_nothing_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tracking=off keeps no runs"):
        NullTracker().download("latest", tmp_path)
