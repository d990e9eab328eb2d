"""Requests to stop reach whoever began before them, and nobody who began after."""

from pathlib import Path

import pytest
from studies import make_study

from recsweep.sweeps.study.stop_requests import NO_MORE, STOP, StopListener, counts, request


def test_a_request_is_heard_by_those_who_began_before_it(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    before = counts(study)
    assert before == {STOP: 0, NO_MORE: 0}
    request(study, STOP, "Ctrl-C on a")
    after = counts(study)
    request(study, NO_MORE, "sweep.timeout on b")
    early, late = StopListener(study, before), StopListener(study, after)
    assert (early.reason(STOP), early.reason(NO_MORE)) == ("Ctrl-C on a", "sweep.timeout on b")
    assert (late.reason(STOP), late.reason(NO_MORE)) == (None, "sweep.timeout on b")
    request(study, STOP, "Ctrl-C on c")
    assert StopListener(study, after).reason(STOP) == "Ctrl-C on c"
    assert early.reason(STOP) == "Ctrl-C on a", "the first counts"


def test_the_storage_is_read_now_and_then(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study")
    slow, eager = (StopListener(study, counts(study), every_s) for every_s in (60.0, 0.0))
    assert slow.reason(STOP) is eager.reason(STOP) is None
    request(study, STOP, "Ctrl-C on a")
    assert slow.reason(STOP) is None
    assert eager.reason(STOP) == "Ctrl-C on a"


def test_a_storage_that_is_away_has_said_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "study")
    listener = StopListener(study, counts(study), 0.0)
    request(study, STOP, "Ctrl-C on a")

    def away(_: object) -> None:
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(type(study), "user_attrs", property(away))
        assert listener.reason(STOP) is None
    assert listener.reason(STOP) == "Ctrl-C on a"
