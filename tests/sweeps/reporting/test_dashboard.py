"""Optuna's dashboard as a WSGI application; that a command serves it is held in tests/tasks."""

import io
import json
import sys
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from studies import COMPLETE, add, make_study

from recsweep.errors import InputError
from recsweep.sweeps.reporting.dashboard import make_dashboard
from recsweep.sweeps.reporting.importance import importances
from recsweep.sweeps.storage.backends import open_storage


def asked(
    folder: Path, path: str, method: str = "GET", host: str = "127.0.0.1:8080", port: str = "8080"
) -> tuple[str, Any]:
    """Status and content of an answer."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host, "SERVER_PORT": port,
    }  # fmt: skip
    setup_testing_defaults(environ)
    environ["wsgi.input"], statuses = io.BytesIO(), []
    application = make_dashboard(open_storage(None, folder))
    parts = application(environ, lambda status, *_: statuses.append(status))
    return statuses[0], json.loads(b"".join(parts))


def test_importances_are_those_of_the_sweeps_page(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    for value, rate in ((0.4, 0.2), (0.5, 0.3), (0.1, 0.7)):
        add(study, COMPLETE, [value], beta=rate / 2, dropout_rate=rate)
    status, content = asked(tmp_path / "vae", "/api/studies/0/param_importances")
    assert status == "200 OK"
    (found,) = content["param_importances"]
    assert {each["name"]: each["importance"] for each in found} == importances(study)
    kinds = {each["name"]: each["distribution"] for each in found}
    assert kinds["model.beta"] == "FloatDistribution"
    assert kinds["model.hidden_dims"] == "CategoricalDistribution"


@pytest.mark.parametrize("values", [[], [0.4], [0.4, 0.4]])
def test_trials_that_do_not_differ_have_no_importances(tmp_path: Path, values: list[float]) -> None:
    study = make_study(tmp_path / "vae")
    for number, value in enumerate(values):
        add(study, COMPLETE, [value], beta=number / 2)
    answer = asked(tmp_path / "vae", "/api/studies/0/param_importances")
    assert answer == ("200 OK", {"param_importances": [[]]})


def test_of_several_objectives_and_of_no_study_the_dashboard_answers_itself(
    tmp_path: Path,
) -> None:
    study = make_study(tmp_path / "two", "ndcg@10", "time")
    for value in (0.4, 0.5):
        add(study, COMPLETE, [value, value], beta=value)
    status, content = asked(tmp_path / "two", "/api/studies/0/param_importances")
    assert (status, len(content["param_importances"])) == ("200 OK", 2)
    assert asked(tmp_path / "two", "/api/studies/7/param_importances")[0].startswith("404")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_changed(tmp_path: Path, method: str) -> None:
    study = make_study(tmp_path / "vae")
    status, content = asked(tmp_path / "vae", "/api/studies/0", method)
    assert status == "403 Forbidden"
    assert "does not change them" in content["reason"]
    assert study.trials == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "LocalHost:9000", "[::1]:8080", "127.0.0.1"]
)
def test_a_browser_here_or_at_the_end_of_a_tunnel_is_answered(host: str, tmp_path: Path) -> None:
    make_study(tmp_path / "vae")
    assert asked(tmp_path / "vae", "/api/studies/0/param_importances", host=host)[0] == "200 OK"


@pytest.mark.parametrize("path", ["/api/studies/0", "/api/studies/0/param_importances", "/"])
@pytest.mark.parametrize(
    "host", ["evil.tld:8080", "evil.tld", "127.0.0.1.evil.tld:80", "localhost:80.evil.tld", ""]
)
def test_a_page_whose_name_points_to_this_machine_is_refused(
    host: str, path: str, tmp_path: Path
) -> None:
    make_study(tmp_path / "vae")
    status, content = asked(tmp_path / "vae", path, host=host)
    assert status == "403 Forbidden"
    assert "only to a name of this machine" in content["reason"]


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study(tmp_path / "vae")
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(InputError, match=r"pip install 'recsweep\[dashboard\]'"):
        make_dashboard(open_storage(None, tmp_path / "vae"))
