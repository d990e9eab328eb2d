"""A private PostgreSQL server on a temporary folder and a free port, where the binaries are."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ports import free_port

PASSWORD = "sesame-17"  # noqa: S105 - of a server that lives for seconds


def binaries() -> Path | None:
    """The folder with initdb and pg_ctl; None = there is none."""
    on_path = shutil.which("pg_ctl")
    if on_path and shutil.which("initdb"):
        return Path(on_path).parent
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return max(
        (folder for folder in folders if (folder / "initdb").exists()),
        key=lambda folder: int(folder.parent.name.split(".")[0]),
        default=None,
    )


class Server(NamedTuple):
    """A running server.

    Args:
        url: Address of its database `postgres`.
        control: Runs pg_ctl with an action, such as `restart`.
    """

    url: str
    control: Callable[..., None]

    def restart(self) -> None:
        """Let it crash and recover: all sessions are lost."""
        self.control("restart", "-m", "immediate")


@contextmanager
def postgres_server(*settings: str) -> Iterator[str]:
    """Start a server; the address of its database `postgres` is valid in this context.

    Args:
        settings: Such as `fsync=off`.
    """
    with mortal_postgres(*settings) as server:
        yield server.url


@contextmanager
def mortal_postgres(*settings: str, address: str = "127.0.0.1") -> Iterator[Server]:
    """Start a server that a test can stop and start again.

    Args:
        settings: Such as `fsync=off`.
        address: Where it listens; loopback, unless it is in a network of the test's own.
    """
    found = binaries()
    assert found is not None, "PostgreSQL's binaries are not here"
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user:
        import pwd  # which Windows does not have

        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data, port = folder / "data", free_port()
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    options = " ".join(
        f"-c {setting}"
        for setting in (
            f"port={port}", f"listen_addresses={address}", f"unix_socket_directories={folder}",
            *settings,
        )
    )  # fmt: skip

    def run(*command: str | Path) -> None:
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    def control(*action: str) -> None:
        run(found / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, *action)

    try:
        run(
            found / "initdb", "-D", data, "-U", "sweeper", "--no-sync", "--encoding=UTF8",
            "--auth=scram-sha-256", f"--pwfile={folder / 'password'}",
        )  # fmt: skip
        with (data / "pg_hba.conf").open("a") as allowed:
            allowed.write(f"host all all {address}/24 scram-sha-256\n")
        control("start")
        yield Server(f"postgresql+psycopg://sweeper:{PASSWORD}@{address}:{port}/postgres", control)
    finally:
        if (data / "postmaster.pid").exists():
            control("stop", "-m", "immediate")
        shutil.rmtree(folder)


def end_sessions(url: str) -> None:
    """What a restart of the server does to them."""
    import sqlalchemy

    server = sqlalchemy.create_engine(url)
    with server.connect() as connection:
        connection.execute(
            sqlalchemy.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        )
    server.dispose()


def _unprivileged() -> str | None:
    """Somebody who may run a server when we are root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    import pwd  # which Windows does not have

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
