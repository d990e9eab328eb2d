"""All studies in a database or below a folder."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import optuna
from optuna.trial import FrozenTrial
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.build import validate
from recsweep.credentials import hide_credentials
from recsweep.errors import InputError
from recsweep.interfaces import STRICT, HomePath
from recsweep.messages import describe_error, shorten
from recsweep.run_files import JOURNAL, RESULTS, TRIALS
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.storage import database
from recsweep.sweeps.storage.backends import make_locks, open_storage
from recsweep.sweeps.study.identity import is_same
from recsweep.sweeps.study.leftovers import storage_of
from recsweep.sweeps.study.shared_study import FLAGS
from recsweep.sweeps.study.status import StudyStatus

DICTS = ("settings", "metrics", "deviations")
NUMBERS = ("best_epoch", "began", "train_s", "wall_s", "cpu_s", "peak_bytes")
"""Attributes of a trial, if it has them."""


@dataclass(kw_only=True, config=STRICT)
class StudyCatalog:
    """All studies in a database, or in the journals below a folder.

    Args:
        storage: The database's URL; None = a journal in each study's folder.
        folder: Parent of the studies' folders.
    """

    storage: Annotated[str, Field(min_length=1)] | None
    folder: HomePath

    @classmethod
    def of(cls, sweep: Mapping[str, Any]) -> "StudyCatalog":
        """The studies in `sweep.storage`, or else in `sweep.folder`."""
        return validate(cls, {name: sweep[name] for name in ("storage", "folder")}, "sweep")

    def __str__(self) -> str:
        return hide_credentials(self.storage) if self.storage else f"{self.folder}/"

    @cached_property
    def _database(self) -> optuna.storages.BaseStorage | None:
        return open_storage(self.storage, self.folder) if self.storage else None

    @property
    def names(self) -> list[str]:
        """Names of all studies in alphabetical order; no file is created.

        Raises:
            InputError: The database cannot be reached.
        """
        if self.storage and self._is_missing():
            return []
        if self._database is not None:
            return sorted(optuna.get_all_study_names(storage=self._database))
        return sorted(journal.parent.name for journal in self.folder.glob(f"*/{JOURNAL}"))

    @property
    def in_databases(self) -> dict[str, str]:
        """Studies with a folder here but trials in a database -> the `sweep.storage` to add."""
        if self.storage:
            return {}
        folders = {f.parent for part in (RESULTS, TRIALS) for f in self.folder.glob(f"*/{part}")}
        return {
            f.name: storage_of(f) or "sweep.storage=URL"
            for f in sorted(folders)
            if not (f / JOURNAL).exists()
        }

    def find_moved(self, name: str, identity: Mapping[str, Any]) -> str:
        """Find a study by identity after its data files were moved, which changes the name's hash.

        Args:
            name: The name that the command gives it; ends with a hash of the command.
            identity: The study's identity.

        Returns:
            `name` if that study exists, else the name of the only study with this identity.
        """
        names, stem = self.names, name.rpartition("-")[0]
        alike = [each for each in names if each.rpartition("-")[0] == stem]
        if name in names:
            return name
        found = []
        for each in alike:
            with suppress(InputError):  # damaged, or without trials
                study, _ = self.load(each)
                if is_same(study.user_attrs.get("identity", {}), identity):
                    found.append(each)
        return found[0] if len(found) == 1 else name

    def _is_missing(self) -> bool:
        address = database.parse_address(str(self.storage))
        is_file = address.drivername == database.SQLITE
        return is_file and not Path(str(address.database)).exists()

    def storage_of(self, name: str) -> optuna.storages.BaseStorage:
        """The storage of an existing study; a journal can only be read."""
        return self._database or open_storage(None, self.folder / name, is_read_only=True)

    def load(self, name: str) -> tuple[optuna.Study, StudyStatus]:
        """A study and its status.

        Raises:
            InputError: It cannot be read.
        """
        place = self.folder / name
        try:
            study = optuna.load_study(study_name=name, storage=self.storage_of(name))
            _refuse_unidentified(study)
            _refuse_malformed(study)
            locks = make_locks(self.storage, place, name)
            return study, StudyStatus.of(study, study.user_attrs["n_trials"], locks.is_leased)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes of it
            reason = shorten(describe_error(error), 120)
            raise InputError(
                f"cannot read study {name}, which is damaged or another program's ({reason}); "
                f"restore {self} from a backup, or move the study away"
            ) from error


def _refuse_malformed(study: optuna.Study) -> None:
    """Raise TypeError or LookupError unless the study has recsweep's attributes, of their types."""
    attrs, identity = study.user_attrs, study.user_attrs["identity"]
    are_right = {
        "n_trials": type(attrs["n_trials"]) is int,
        "objectives": _are_texts(attrs["objectives"])
        and len(attrs["objectives"]) == len(study.directions),
        FLAGS: _are_texts(attrs.get(FLAGS, [])),
        "identity": isinstance(identity, dict)
        and _are_texts(identity.get("fixed", []))
        and all(isinstance(identity[part], dict) for part in ("fingerprint", "versions")),
        "space": bool(Space.of_study(attrs["space"]).branches),
        "trials": all(map(_is_sound, study.get_trials(deepcopy=False))),
    }
    for name, is_right in are_right.items():
        if not is_right:
            raise TypeError(f"its {name} have another type")


def _is_sound(trial: FrozenTrial) -> bool:
    """Whether what reports read of a trial has its types."""
    noted = trial.user_attrs
    return all(isinstance(noted.get(part, {}), dict) for part in DICTS) and all(
        isinstance(noted.get(part), int | float | None) for part in NUMBERS
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _refuse_unidentified(study: optuna.Study) -> None:
    if "n_trials" not in study.user_attrs and not study.get_trials(deepcopy=False):
        raise InputError(
            f"study {study.study_name} has no trials yet; resume it with the command that started "
            "it"
        )
