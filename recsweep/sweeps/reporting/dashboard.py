"""Optuna's dashboard of studies that may still be running; it reads them and changes nothing."""

import json
import re
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import BaseStorage

from recsweep.errors import InputError
from recsweep.loopback import HOST
from recsweep.sweeps.reporting.importance import complete_trials, importances

_IMPORTANCES = re.compile(r"/api/studies/([0-9]+)/param_importances/?")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application, PEP 3333."""


def make_dashboard(storage: BaseStorage) -> Application:
    """The dashboard of a storage, with the importances of the sweep's own page.

    Raises:
        InputError: optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise InputError(
            "task=dashboard needs the package optuna-dashboard, but it is not installed; "
            "pip install 'recsweep[dashboard]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its copies of studies are no news
    dashboard = wsgi(storage)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not _is_of_this_machine(environ.get("HTTP_HOST", "")):
            reason = {"reason": "recsweep's dashboard answers only to a name of this machine"}
            return _json("403 Forbidden", reason, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            reason = {"reason": "recsweep's dashboard shows studies and does not change them"}
            return _json("403 Forbidden", reason, start_response)
        asked = _IMPORTANCES.fullmatch(environ["PATH_INFO"])
        if asked and (shares := _importances(storage, int(asked[1]))) is not None:
            return _json("200 OK", {"param_importances": [shares]}, start_response)
        found: Iterable[bytes] = dashboard(environ, start_response)
        return found

    return application


def _is_of_this_machine(host: str) -> bool:
    """Whether a browser here asks, or one at the end of a tunnel, whose port may be another.

    Any other name is that of a page which now points here.
    """
    return re.sub(r":[0-9]*$", "", host).lower() in (HOST, "localhost", "[::1]")


def _json(status: str, content: object, start_response: Callable[..., Any]) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(content).encode()]


def _importances(storage: BaseStorage, study_id: int) -> list[dict[str, Any]] | None:
    """As the dashboard reads them; None = there is no such study, or it has several objectives."""
    try:
        name = storage.get_study_name_from_id(study_id)
    except KeyError:
        return None
    study = optuna.load_study(study_name=name, storage=storage)
    if len(study.directions) > 1:
        return None
    spaces = {
        name: s for trial in complete_trials(study) for name, s in trial.distributions.items()
    }
    return [
        {"name": name, "importance": share, "distribution": type(spaces[name]).__name__}
        for name, share in importances(study).items()
    ]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """A line per request would hide the page's address."""


def make_dashboard_server(application: Application, port: int) -> WSGIServer:
    """A server on loopback; `serve_forever` serves until Ctrl-C.

    Args:
        application: The result of `make_dashboard`.
        port: A free port.
    """
    return make_server(HOST, port, application, _Server, _Quiet)
