"""A study's identity: everything that could change a trial's result, and how two differ."""

from collections.abc import Mapping
from typing import Any

from recsweep.app import FILES, LIMITS, OF_STORED, parameters
from recsweep.environment import NOT_INSTALLED
from recsweep.errors import InputError
from recsweep.messages import shorten

NOT_PART_OF_IT = (
    "tracking", "cache_dir", "debug", "study", "task", "search", "sampler", "pruner",
    "model_name", "device", "precision", *LIMITS, *OF_STORED,
)  # fmt: skip
"""Parts of a configuration that do not affect a trial's result, or that are stored separately, such
as the device that trials ran on, see `SharedStudy.refuse_other_device`."""
USUAL: Mapping[str, int | None] = {"folds": None, "seeds_per_trial": 1}
"""Settings of a sweep that are part of it where they differ from this: older studies lack them."""
_FILES = tuple(f".{key}" for key in FILES)
ABSENT = "absent"
SHOWN = 3
SHOWN_CHARACTERS = 60


def of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that trials depend on."""
    kept = {name: node for name, node in config.items() if name not in NOT_PART_OF_IT}
    sweep = kept.pop("sweep", {})
    of_trials = {name: sweep.get(name) for name in ("seed", "try_defaults")}
    repeated = {name: sweep.get(name, usual) for name, usual in USUAL.items()}
    of_trials |= {name: n for name, n in repeated.items() if n != USUAL[name]}
    return {**kept, "sweep": of_trials}


def refuse_difference(study: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise InputError if a study's identity has changed, naming the first differences.

    Files may have moved as long as their content is the same.

    Args:
        study: Its name.
        before: Identity that the study was created with.
        now: Identity that it would be resumed with.
    """
    was, is_now = _leaves(before), _leaves(now)
    changes = {
        key: (was.get(key, ABSENT), is_now.get(key, ABSENT)) for key in _changed(before, now)
    }
    if not changes:
        return
    causes = [key for key in changes if not _follows(key, *changes[key])] or list(changes)
    differences = [_sentence(key, *changes[key]) for key in causes[:SHOWN]]
    more = f", and {len(causes) - SHOWN} more" if len(causes) > SHOWN else ""
    remedy = "revert that"
    if list(causes) == ["threads"]:
        same = f"add threads={was['threads']}"
        remedy = f"they follow from sweep.n_workers: give the same number of workers, or {same}"
    raise InputError(
        f"cannot resume study {study}: {', '.join(differences)}{more}; {remedy}, or start a new "
        "study with study=NAME"
    )


def is_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two identities are the same; files may have moved.

    Args:
        before: Identity that the study was created with.
        now: Identity that it would be resumed with.
    """
    return not _changed(before, now)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the differences."""
    was, is_now = _leaves(before), _leaves(now)
    changed = [
        key
        for key in {**was, **is_now}
        if _matters(key, was.get(key, ABSENT), is_now.get(key, ABSENT))
    ]
    if before.get("fingerprint") == now.get("fingerprint"):
        return [key for key in changed if not f".{key}".endswith(_FILES)]
    return changed


def _matters(key: str, was: object, is_now: object) -> bool:
    """Whether values differ; a library that is or was not installed has no effect."""
    is_absent = key.startswith("versions.") and NOT_INSTALLED in (was, is_now)
    return bool(was != is_now) and not is_absent


def _follows(key: str, was: object, is_now: object) -> bool:
    """Whether a difference follows from another one: another class has other code."""
    is_of_one = key.startswith("code.") and ABSENT in (was, is_now)
    return is_of_one or key.startswith("fingerprint.")


def _sentence(key: str, was: object, is_now: object) -> str:
    if key.startswith("code."):
        return f"the code of {key.removeprefix('code.')} changed"
    before, now = (shorten(str(value), SHOWN_CHARACTERS) for value in (was, is_now))
    return f"{key} was {before} and is {now}"


def _leaves(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The compared values, by the name that the user types; how they were set does not matter."""
    compared = {name: node for name, node in identity.items() if name != "fixed"}
    return {key.removeprefix("config."): leaf for key, leaf in parameters(compared).items()}
