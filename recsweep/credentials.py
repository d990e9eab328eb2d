"""Addresses without their credentials, and texts of other programs without any of them.

An address is rebuilt from the parts that are known to be harmless: scheme, host, port, path, a
database's user, a few parameters. One that does not parse is shown only up to its `://`.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
DATABASES = ("postgresql", "mysql", "mariadb", "mssql", "oracle")
"""Their users are names; elsewhere a user may be a token."""
FILES = ("sqlite", "file")
"""Schemes of paths, which have neither host nor user."""
HARMLESS = (
    "application_name", "connect_timeout", "dbname", "driver", "host", "port", "sslmode",
    "target_session_attrs", "user",
)  # fmt: skip
"""Parameters whose values are shown."""
SECRET_VARIABLES = ("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Variables of the environment that the clients of PostgreSQL and MLflow read."""
NAME, PLAIN = re.compile(r"[\w.+-]*"), re.compile(r"[\w./,+-]*")
SEALED = "RECSWEEP_SEALED"
"""Variable of the environment with what `seal` replaced, which Slurm hands on to its jobs."""
SHORT = 2
"""Words up to this many letters are no secret on their own: hiding every `a` is useless."""
HOST = re.compile(r"([\w.-]*|\[[0-9A-Fa-f:.]+\])(:\d*)?")
WORD = re.compile(r"[^\W_]+")
ADDRESS = re.compile(r"[\w+.-]*://|[\w+.-]{2,}:/(?=.*@)")

_shown: dict[str, str] = {}
"""Addresses with credentials that this process has met -> the same without them."""
_secret_words: set[str] = set()
"""The words of these addresses that are not shown, in lower case."""


def without_credentials(node: Any) -> Any:
    """A copy of a configuration, an override or a list of them without credentials in addresses.

    An address goes from the first `SCHEME://` to the end of the text, or to the end of its quotes.
    With an `@` after it, `SCHEME:/` is taken for one, too.

    Args:
        node: Mappings, lists and plain values.
    """
    if isinstance(node, Mapping):
        return {key: without_credentials(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [without_credentials(value) for value in node]
    found = ADDRESS.search(node) if isinstance(node, str) else None
    if found is None:
        return node
    start = found.start()
    is_quoted = node[start - 1 : start] in ("'", '"') and node.endswith(node[start - 1])
    end = len(node) - is_quoted
    return f"{node[:start]}{hide_credentials(node[start:end])}{node[end:]}"


def hide_credentials(address: str) -> str:
    """An address without its credentials, which `redact` will hide from now on.

    Args:
        address: Such as `https://TOKEN@host`; it may be malformed.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:  # a path, or an address with a slash too few
        found = ADDRESS.match(address)
        shown = f"{found[0] if found else ''}{HIDDEN}" if re.search("[@=]", address) else address
    else:
        try:
            shown = f"{scheme}{separator}{_harmless(address, scheme, rest)}"
        except Exception:  # noqa: BLE001 - whatever the parsers raise, it did not parse
            shown = f"{scheme}{separator}{HIDDEN}"
    if shown != address:
        _shown[address] = shown
        if len(rest) > 1:
            _shown[rest] = shown.partition("://")[2]
        words = _words(address, unquote(address)) - _words(shown)
        _secret_words.update(word for word in words if len(word) > SHORT)
    return shown


def redact(text: object) -> str:
    """The text of another program, such as its error, without the credentials seen so far.

    Whole addresses are hidden, and each word of their credentials, however they are quoted.

    Args:
        text: Any text.
    """
    told = str(text)
    for name in SECRET_VARIABLES:
        if value := os.environ.get(name):
            told = told.replace(value, HIDDEN)
    for address in sorted(_shown, key=len, reverse=True):
        told = told.replace(address, _shown[address])
    return WORD.sub(lambda word: HIDDEN if word[0].casefold() in _secret_words else word[0], told)


def seal(node: Any) -> Any:
    """A copy of plain values for a file: texts with credentials stay behind, in the environment.

    Args:
        node: Mappings, lists and plain values.
    """
    if isinstance(node, Mapping):
        return {key: seal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [seal(value) for value in node]
    if without_credentials(node) == node:
        return node
    known = _sealed()
    key = next((key for key, text in known.items() if text == node), f"{SEALED} {len(known)}")
    os.environ[SEALED] = json.dumps({**known, key: node})
    return key


def unseal(node: Any) -> Any:
    """The inverse of `seal`, in a process with the same environment."""
    known = _sealed()
    if isinstance(node, Mapping):
        return {key: unseal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [unseal(value) for value in node]
    return known.get(node, node) if isinstance(node, str) else node


def _sealed() -> dict[str, str]:
    return dict(json.loads(os.environ.get(SEALED, "{}")))


def _words(*texts: str) -> set[str]:
    return {word.casefold() for text in texts for word in WORD.findall(text)}


def _harmless(address: str, scheme: str, rest: str) -> str:
    """What may be shown after `://`, by the parser of the client that connects to the address.

    Raises:
        ValueError: It does not parse, or a part of it may be the end of a password.
    """
    kind = scheme.partition("+")[0].lower()
    if kind in FILES and rest.startswith("/"):
        path, mark, query = rest.partition("?")
        _require(re.search(":.*@", path) is None)
        return f"{path}{_parameters(parse_qsl(query)) if '=' in query else mark + query}"
    if kind in DATABASES:
        return _of_database(address)
    found = urlsplit(address)
    login, at, host = found.netloc.rpartition("@")
    after = rest.removeprefix(found.netloc)
    _require(rest.startswith(found.netloc), "@" not in unquote(after), "#" not in after)
    pairs = parse_qsl(found.query, keep_blank_values=True)
    return f"{HIDDEN * bool(login)}{at}{_host(host)}{_path(found.path)}{_parameters(pairs)}"


def _of_database(address: str) -> str:
    from sqlalchemy.engine import make_url  # takes a moment

    url = make_url(address)
    user = url.username or ""
    login = user if NAME.fullmatch(user) else HIDDEN
    login += "" if url.password is None else f":{HIDDEN}"
    at = "@" if url.username is not None or url.password is not None else ""
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host or ""
    port = "" if url.port is None else f":{url.port}"
    path = "" if url.database is None else _path(f"/{url.database}")
    pairs = [
        (name, value)
        for name, values in url.query.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return f"{login}{at}{_host(host + port)}{path}{_parameters(pairs)}"


def _host(text: str) -> str:
    _require(HOST.fullmatch(text) is not None)
    return text


def _path(text: str) -> str:
    _require("@" not in unquote(text), "?" not in text)
    return text


def _parameters(pairs: Iterable[tuple[str, str]]) -> str:
    shown = [
        f"{name}={value if name in HARMLESS and PLAIN.fullmatch(value) else HIDDEN}"
        if value and NAME.fullmatch(name)
        else HIDDEN
        for name, value in pairs
    ]
    return f"?{'&'.join(shown)}" if shown else ""


def _require(*conditions: bool) -> None:
    if not all(conditions):
        raise ValueError("it may be the end of a password")
