"""Addresses are shown without their credentials, however hostile they are."""

import json
import logging
import os
import pickle
import subprocess
import sys

import pytest

from recsweep import credentials
from recsweep.command_line import _note_credentials, _print_redacted, _Redacting
from recsweep.credentials import hide_credentials, redact, seal, unseal, without_credentials
from recsweep.sweeps.execution.worker import FinalWorker, Worker


@pytest.fixture(autouse=True)
def _nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_shown", {})
    monkeypatch.setattr(credentials, "_secret_words", set())


SHOWN = {
    # databases, as SQLAlchemy reads them
    "postgresql+psycopg://ann:Zq7x@db/x": "postgresql+psycopg://ann:***@db/x",
    "postgresql+psycopg://ann@db:5432/x": "postgresql+psycopg://ann@db:5432/x",
    "postgresql+psycopg://db/x": "postgresql+psycopg://db/x",
    "postgresql+psycopg://ann:Zq7x/S3cr@db/x": "postgresql+psycopg://ann:***@db/x",
    "postgresql+psycopg://ann:Zq7x S3cr@db/x": "postgresql+psycopg://ann:***@db/x",
    "postgresql+psycopg://ann:Zq7x?S3cr@db/x": "postgresql+psycopg://ann:***@db/x",
    "postgresql+psycopg://ann:Zq7x#S3cr@db/x": "postgresql+psycopg://ann:***@db/x",
    "postgresql+psycopg://ann:Zq7x%40S3cr@db/x": "postgresql+psycopg://ann:***@db/x",
    "postgresql+psycopg://:Zq7x@db/x": "postgresql+psycopg://:***@db/x",
    "postgresql+psycopg://ann@Zq7x:S3cr@db/x": "postgresql+psycopg://***:***@db/x",
    "postgresql+psycopg://ann%40Zq7x:S3cr@db/x": "postgresql+psycopg://***:***@db/x",
    "postgresql+psycopg://ann:Zq7x@S3cr@db/x": "postgresql+psycopg://***",
    "postgresql+psycopg://ann:Zq7x@db:S3cr/x": "postgresql+psycopg://***",
    "postgresql+psycopg://ann:Zq7x/x": "postgresql+psycopg://***",
    "postgresql+psycopg://ann%3AZq7x%40db/x": "postgresql+psycopg://***",
    "postgresql+psycopg:///ann:Zq7x@db/x": "postgresql+psycopg://***",
    "postgresql+psycopg://ann:Zq7x@[::1]:5432/x": "postgresql+psycopg://ann:***@[::1]:5432/x",
    "postgresql+psycopg://db/x?user=ann&password=Zq7x&sslmode=require": (
        "postgresql+psycopg://db/x?user=ann&password=***&sslmode=require"
    ),
    "postgresql+psycopg:///x?host=/run/postgresql": "postgresql+psycopg:///x?host=/run/postgresql",
    "mssql+pyodbc:///?odbc_connect=PWD%3DZq7x": "mssql+pyodbc:///?odbc_connect=***",
    # servers, as urllib reads them; a user may be a token
    "http://ann:Zq7x@host:5000": "http://***@host:5000",
    "https://Zq7x@host/mlflow": "https://***@host/mlflow",
    "https://Zq7x:@host": "https://***@host",
    "http://ann:Zq7x@S3cr@host": "http://***@host",
    "http://ann:Zq7x S3cr@host": "http://***@host",
    "http://ann:Zq7x/S3cr@host": "http://***",
    "http://ann:77?Zq7x@host": "http://***",
    "http://ann:77#Zq7x@host": "http://***",
    "http://ann:77/Zq7x%40host": "http://***",
    "http://host/x?token=Zq7x": "http://host/x?token=***",
    "http://host/?Zq7x": "http://host/?***",
    "http://host/#token=Zq7x": "http://***",
    "http://[Zq7x@host": "http://***",
    "http://ann:Zq7x": "http://***",
    "http://127.0.0.1:5000/a/b": "http://127.0.0.1:5000/a/b",
    "s3://Zq7x:S3cr@bucket/key": "s3://***@bucket/key",
    "://ann:Zq7x@db": "://***",
    # files
    "sqlite:///studies.db": "sqlite:///studies.db",
    "sqlite:////home/a@b/my studies.db": "sqlite:////home/a@b/my studies.db",
    "sqlite:////home/a?b/x.db": "sqlite:////home/a?b/x.db",
    "sqlite:///ann:Zq7x@db/x": "sqlite://***",
    "sqlite://ann:Zq7x@db/x": "sqlite://***@db/x",
    "sqlite:///x.db?key=Zq7x": "sqlite:///x.db?key=***",
    # no address
    "databricks": "databricks",
    "./mlruns": "./mlruns",
    "http:/ann:Zq7x@host": "http:/***",
    "host=db password=Zq7x": "***",
}


@pytest.mark.parametrize("address", SHOWN)
def test_an_address_is_shown_without_its_credentials(address: str) -> None:
    shown = hide_credentials(address)
    assert shown == SHOWN[address]
    for secret in ("Zq7x", "S3cr"):
        assert secret not in shown
        said = f"could not use {address!r}, nor {secret!r} nor {secret.lower()}"
        if secret in address:
            assert secret not in redact(said)
            assert secret.lower() not in redact(said)


def test_an_address_is_found_in_a_configuration_and_in_overrides() -> None:
    config = {"tracking": {"uri": "http://ann:Zq7x@host"}, "k": [10], "path": "a:b@c", "n": None}
    assert without_credentials(config) == {
        "tracking": {"uri": "http://***@host"}, "k": [10], "path": "a:b@c", "n": None,
    }  # fmt: skip
    assert config["tracking"] == {"uri": "http://ann:Zq7x@host"}
    lines = {
        "sweep.storage=postgresql://ann:Zq7x@db/x": "sweep.storage=postgresql://ann:***@db/x",
        '+a.b="http://Zq7x@host"': '+a.b="http://***@host"',
        "a=[http://host,http://ann:Zq7x@host]": "a=[http://***",
        "tracking.uri='http:/ann:Zq7x@host'": "tracking.uri='http:/***'",
        "data.path=a:/b@c": "data.path=a:/b@c",
        "sweep.storage=${oc.env:STUDIES}": "sweep.storage=${oc.env:STUDIES}",
    }
    for line, shown in lines.items():
        told = without_credentials([line])[0]
        assert told == shown


def test_words_that_are_shown_are_not_hidden_in_errors() -> None:
    hide_credentials("postgresql://ann:Zq7x@db/x")
    error = ValueError("connection to db/x as ann with Zq7x failed")
    assert redact(error) == "connection to db/x as ann with *** failed"


@pytest.mark.parametrize("name", credentials.SECRET_VARIABLES)
def test_secrets_of_the_environment_are_hidden_in_errors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "Zq7x!?")
    assert redact("denied: Zq7x!?") == "denied: ***"


def test_an_address_that_the_shell_has_cut_is_hidden_as_a_whole() -> None:
    _note_credentials(["-m", "sweep.storage=postgresql://ann:Zq7x", "S3cr@db/x", "model=ease"])
    assert (
        redact("S3cr@db/x is no setting, model=ease is") == "***@db/x is no setting, model=ease is"
    )


def test_logs_and_tracebacks_are_without_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    hide_credentials("http://Zq7x@host")
    record = logging.LogRecord("urllib3", 30, "", 1, "retry %s", ("http://Zq7x@host/api",), None)
    assert _Redacting("%(message)s").format(record) == "retry http://***@host/api"
    _print_redacted(KeyError, KeyError("Zq7x"), None)
    assert "KeyError: '***'" in capsys.readouterr().err


def test_logs_and_tracebacks_are_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, shown in (("urllib3", "a\\x1b[2J\nb"), ("recsweep.data.ids", "a\\x1b[2J\\nb")):
        record = logging.LogRecord(name, 30, "", 1, "%s", ("a\x1b[2J\nb",), None)
        assert _Redacting("%(message)s").format(record) == shown
    _print_redacted(ValueError, ValueError("a\x1b[2J\nb"), None)
    assert capsys.readouterr().err == "ValueError: a\\x1b[2J\nb\n"


def test_pickles_for_a_cluster_hold_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(credentials.SEALED, raising=False)
    plan = {"storage": "postgresql://a:Zq7x@db/x", "space": {"uri": ["http://Zq7x@h"]}, "n": 3}
    trainings = [{"config": {"tracking": {"uri": "http://Zq7x@h"}}}]
    worker = FinalWorker(Worker(plan), trainings, 2)
    packed = pickle.dumps([worker.seal(), worker.worker.seal()])
    assert b"Zq7x" not in packed
    final, sealed = pickle.loads(packed)  # noqa: S301 - our own
    assert sealed.unseal() == worker.worker == final.worker.unseal()
    assert unseal(final.trainings) == trainings
    line = "import os, recsweep.credentials as c; print(c.unseal(os.environ['TEXT']))"
    environment = {**os.environ, "TEXT": sealed.plan["storage"]}
    job = subprocess.run(
        [sys.executable, "-c", line], env=environment, capture_output=True, text=True, check=True
    )
    assert job.stdout.strip() == plan["storage"]


def test_sealing_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(credentials.SEALED, raising=False)
    plain = {"a": [1, None, "x", "http://host"], "b": {"c": True}}
    assert seal(plain) == unseal(plain) == plain
    assert credentials.SEALED not in os.environ
    monkeypatch.setenv(credentials.SEALED, json.dumps({}))  # undone after the test
    same = [seal("http://Zq7x@h"), seal("http://S3cr@h"), seal("http://Zq7x@h")]
    assert same[0] == same[2] != same[1]


def test_a_letter_of_a_password_does_not_hide_every_word_like_it() -> None:
    hide_credentials("http://Zq7x%2Fa@host")
    assert redact("a worker with Zq7x/a") == "a worker with ***/a"
