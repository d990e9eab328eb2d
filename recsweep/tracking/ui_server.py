"""MLflow's UI of a database, as a server of this machine that ends with its block."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from recsweep.credentials import redact
from recsweep.errors import InputError
from recsweep.loopback import HOST, usable_port
from recsweep.messages import one_line

USUAL_PORT = 5000
START_S = 180.0
POLL_S = 0.2
LOG_CHARACTERS = 300


@contextmanager
def serve_ui(uri: str, port: int | None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run MLflow's UI on loopback.

    Args:
        uri: Address of the database.
        port: Its port; None = 5000, or another one if that is in use.

    Yields:
        The UI's address, once it responds, and its process.

    Raises:
        InputError: The port is in use, or the server ends before it responds.
    """
    port = usable_port(port, USUAL_PORT)
    address = f"http://{HOST}:{port}"
    command = [
        sys.executable, "-m", "mlflow", "ui", "--workers", "1", "--host", HOST,
        "--port", str(port),
    ]  # fmt: skip
    # without its job runner the UI starts 2 processes instead of 15
    environment = {
        **os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri,  # others can read a command line
    }  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + START_S
            while not _responds(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = one_line(redact(log.read().decode(errors="replace")))[-LOG_CHARACTERS:]
                    raise InputError(
                        f"MLflow's UI failed to start: {said}; fix it, or set task.port"
                    )
                time.sleep(POLL_S)
            yield address, process
        finally:
            _end_with_children(process)


def _end_with_children(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        end = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(end, capture_output=True, check=False)  # noqa: S603 - Windows' own
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def _responds(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310 - http
            return True
    except (urllib.error.URLError, OSError):
        return False
