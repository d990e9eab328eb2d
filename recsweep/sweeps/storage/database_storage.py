"""Optuna's storage in a database: it waits for outages, and a trial is a few statements.

Tables and their contents are Optuna's own, so that its programs read them.
"""

import copy
import json
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache, partial, wraps
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Float, String, Text, cast, literal, null, select, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from recsweep.sweeps.storage.database import (
    ONE_CONNECTION,
    POSTGRES,
    errors_in_one_line,
    options,
    optuna_versions,
    temporary_connections,
)
from recsweep.sweeps.storage.outages import Outages
from recsweep.sweeps.storage.shared_connection import SharedConnection

REPEATED = (
    "create_new_study", "delete_study", "get_all_studies", "get_study_id_from_name",
    "get_study_name_from_id", "get_study_directions", "get_study_user_attrs",
    "get_study_system_attrs", "set_study_user_attr", "set_study_system_attr", "get_trial",
    "get_trial_id_from_study_id_trial_number", "get_trial_user_attrs", "get_trial_system_attrs",
    "get_trial_param", "set_trial_user_attr", "set_trial_system_attr",
    "set_trial_intermediate_value", "_get_trials", "_get_best_trial_id",
)  # fmt: skip
"""Calls that may be repeated after an outage, even if they were done just before it."""
INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class DatabaseStorage(RDBStorage):
    """Trials in Optuna's tables, which must exist.

    Args:
        address: See `recsweep.sweeps.storage.database.parse_address`.
        outages: Waits for the server.

    Raises:
        StorageError: The tables have another version, or cannot be reached.
    """

    def __init__(self, address: URL, outages: Outages) -> None:
        self.address, self.outages = address, outages
        own = ONE_CONNECTION if address.drivername == POSTGRES else {}
        # sessions are to begin as those of the shared connection do
        with optuna_versions(address), temporary_connections(self):
            super().__init__(
                address.render_as_string(hide_password=False), {**options(address), **own},
                skip_compatibility_check=True, skip_table_creation=True,
            )  # fmt: skip
            versions = self._version_manager  # whose own check needs two connections
            if versions.get_current_version() != versions.get_head_version():
                raise RuntimeError(versions.get_current_version())
        self.connection = SharedConnection(self.engine)
        self.scoped_session: Any = self.connection

    def __reduce__(self) -> tuple[type, tuple[URL, Outages]]:
        """A copy in another process has a connection of its own."""
        return type(self), (self.address, self.outages)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A session inside this thread's transaction, or else in one of its own."""
        if self.connection.is_in_transaction:
            session = self.connection()
            yield session
            session.commit()
            session.close()
        else:
            with errors_in_one_line(self.address), self.connection.transaction():
                yield self.connection()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """A session inside this thread's transaction, or else without one."""
        if self.connection.is_in_transaction:
            with self._session() as session:
                yield session
        else:
            with self.connection.statements() as connection, Session(connection) as session:
                yield session

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        trial = models.TrialModel
        found = self._read((trial.study_id == study_id) & (
            trial.trial_id.in_(included_trial_ids) | (trial.trial_id > trial_id_greater_than)
        ))  # fmt: skip
        if not found and trial_id_greater_than < 0:  # nothing was found before, either
            with self._reading() as session:
                models.StudyModel.find_or_raise_by_id(study_id, session)
        return [each for each in found if states is None or each.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `RDBStorage`."""
        for found in self._read(models.TrialModel.trial_id == trial_id):
            return found
        raise KeyError(trial_id)

    def _read(self, is_wanted: Any) -> list[FrozenTrial]:
        """The trials that fulfil a condition, in two statements."""
        with self._reading() as session:
            by_id = session.query(models.TrialModel).order_by(models.TrialModel.trial_id)
            found: list[Any] = by_id.filter(is_wanted).all()
            parts = _Parts.of(session, is_wanted) if found else {}
            return [parts.get(each.trial_id, _Parts()).frozen(each) for each in found]

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        if template_trial is None:
            return super()._create_new_trial(study_id)
        frozen = copy.deepcopy(template_trial)
        with self._session() as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            frozen.number = self.n_attempts(study_id)
            row: Any = models.TrialModel(
                study_id=study_id, number=frozen.number, state=frozen.state,
                datetime_start=frozen.datetime_start, datetime_complete=frozen.datetime_complete,
            )  # fmt: skip
            session.add(row)
            session.flush()
            frozen._trial_id = row.trial_id
            for model, rows in _rows(frozen):
                session.execute(sqlalchemy.insert(model), rows)
        frozen.user_attrs = json.loads(json.dumps(frozen.user_attrs))
        return frozen

    def set_trial_attrs(self, trial_id: int, attrs: Mapping[str, Any]) -> None:
        """Set several user attributes of an unfinished trial."""

        def set_all() -> None:
            with self._session() as session:
                found: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
                self.check_trial_is_updatable(trial_id, found.state)
                self._upsert(session, trial_id, attrs)

        self._repeat(set_all)

    def finish_trial(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None,
        attrs: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Set user attributes, values and the final state of a trial.

        A pruned trial has the value that was reported last, as Optuna has it.
        """
        with self._session() as session:
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            if trial.state == state:  # just before an outage
                return
            self.check_trial_is_updatable(trial_id, trial.state)
            self._upsert(session, trial_id, attrs)
            if state == TrialState.PRUNED:
                values = _last_report(session, trial_id)
            if values:
                session.execute(
                    sqlalchemy.insert(models.TrialValueModel), _values(trial_id, values)
                )
            trial.state, trial.datetime_complete = state, datetime.now()

    def n_attempts(self, study_id: int) -> int:
        """Number of trials of a study, retried ones counted again."""
        trial = models.TrialModel
        count = select(sqlalchemy.func.count(trial.trial_id)).where(trial.study_id == study_id)
        with self._reading() as session:
            return int(session.execute(count).scalar_one())

    def state_and_start(self, trial_id: int) -> tuple[TrialState, Any]:
        """A trial's state and its attribute `began`, in one statement."""
        trial, attr = models.TrialModel, models.TrialUserAttributeModel
        is_began = (attr.trial_id == trial.trial_id) & (attr.key == "began")
        find = select(trial.state, attr.value_json).outerjoin(attr, is_began)
        with self._reading() as session:
            state, text = session.execute(find.where(trial.trial_id == trial_id)).one()
        return state, json.loads(text or "null")

    def _upsert(self, session: Session, trial_id: int, attrs: Mapping[str, Any]) -> None:
        if not attrs:
            return
        model = models.TrialUserAttributeModel
        insert = INSERT[self.engine.name](model).values(_attrs(trial_id, attrs))
        session.execute(insert.on_conflict_do_update(
            index_elements=[model.trial_id, model.key],
            set_={"value_json": insert.excluded.value_json},
        ))  # fmt: skip

    def _repeat(self, call: Callable[[], Any]) -> Any:
        """Call again after an outage; in a transaction the whole of it is repeated."""
        with errors_in_one_line(self.address):
            return call() if self.connection.is_in_transaction else self.outages.wait(call)


class CachedTrials(_CachedStorage):
    """Optuna's cache of a storage's trials, for threads that also read them in transactions.

    The cache has a lock. A thread that had it while waiting for the connection would never get the
    connection if the thread in the transaction wanted the cache.

    Args:
        backend: The storage.
    """

    _backend: DatabaseStorage

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        with self._backend.connection.turn:
            return super().get_all_trials(study_id, deepcopy, states)


def _repeated(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def repeated(self: DatabaseStorage, *values: Any, **named: Any) -> Any:
        return self._repeat(partial(method, self, *values, **named))

    return repeated


for _name in REPEATED:
    setattr(DatabaseStorage, _name, _repeated(getattr(DatabaseStorage, _name)))


# --- rows -----------------------------------------------------------------------------------------


class _Parts:
    """What a trial has in tables of its own."""

    def __init__(self) -> None:
        self._values: dict[int, float] = {}
        self._params: list[tuple[int, str, float, BaseDistribution]] = []
        self._attrs: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self._reports: dict[int, float] = {}

    @staticmethod
    def of(session: Session, is_wanted: Any) -> dict[int, "_Parts"]:
        """By the ids of the trials that fulfil a condition; one statement."""
        ids = select(models.TrialModel.trial_id).where(is_wanted)
        no_number, no_text = cast(null(), Float(53)), cast(null(), Text)
        value, param = models.TrialValueModel, models.TrialParamModel
        user, system = models.TrialUserAttributeModel, models.TrialSystemAttributeModel
        report = models.TrialIntermediateValueModel
        tables: list[tuple[Any, ...]] = [
            (value, value.objective, cast(value.value_type, String), value.value, no_text),
            (param, param.param_id, param.param_name, param.param_value, param.distribution_json),
            (user, literal(0), user.key, no_number, user.value_json),
            (system, literal(0), system.key, no_number, system.value_json),
            (report, report.step, cast(report.intermediate_value_type, String),
             report.intermediate_value, no_text),
        ]  # fmt: skip
        parts: dict[int, _Parts] = {}
        rows = union_all(*(
            select(literal(kind), model.trial_id, *columns).where(model.trial_id.in_(ids))
            for kind, (model, *columns) in enumerate(tables)
        ))  # fmt: skip
        for kind, trial_id, *row in session.execute(rows):
            parts.setdefault(trial_id, _Parts())._add(kind, *row)
        return parts

    def _add(self, kind: int, place: int, name: str, number: float | None, text: str) -> None:
        if kind == 0:
            self._values[place] = models.TrialValueModel.stored_repr_to_value(
                number, models.TrialValueModel.TrialValueType[name]
            )
        elif kind == 1:
            assert number is not None  # noqa: S101 - a parameter has a value
            self._params.append((place, name, number, _distribution(text)))
        elif kind == 4:
            report = models.TrialIntermediateValueModel
            self._reports[place] = report.stored_repr_to_intermediate_value(
                number, report.TrialIntermediateValueType[name]
            )
        else:
            self._attrs[kind - 2][name] = json.loads(text)

    def frozen(self, trial: Any) -> FrozenTrial:
        """The trial of a row."""
        params = sorted(self._params, key=lambda param: param[0])
        values = [self._values[objective] for objective in sorted(self._values)]
        return FrozenTrial(
            number=trial.number, trial_id=trial.trial_id, state=trial.state, value=None,
            values=values or None,
            datetime_start=trial.datetime_start, datetime_complete=trial.datetime_complete,
            params={name: found.to_external_repr(number) for _, name, number, found in params},
            distributions={name: found for _, name, _, found in params},
            user_attrs=self._attrs[0], system_attrs=self._attrs[1],
            intermediate_values=self._reports,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _rows(trial: FrozenTrial) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """The rows of a new trial, by table."""
    trial_id = trial._trial_id
    params = [
        {
            "trial_id": trial_id, "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]  # fmt: skip
    report = models.TrialIntermediateValueModel
    stored = {
        step: report.intermediate_value_to_stored_repr(value)
        for step, value in trial.intermediate_values.items()
    }
    reports = [
        {
            "trial_id": trial_id, "step": step, "intermediate_value": number,
            "intermediate_value_type": kind,
        }
        for step, (number, kind) in stored.items()
    ]  # fmt: skip
    tables = {
        models.TrialValueModel: _values(trial_id, trial.values or []),
        models.TrialParamModel: params,
        models.TrialUserAttributeModel: _attrs(trial_id, trial.user_attrs),
        models.TrialSystemAttributeModel: _attrs(trial_id, trial.system_attrs),
        report: reports,
    }
    yield from ((model, rows) for model, rows in tables.items() if rows)


def _values(trial_id: int, values: Sequence[float]) -> list[dict[str, Any]]:
    stored = map(models.TrialValueModel.value_to_stored_repr, values)
    return [
        {"trial_id": trial_id, "objective": objective, "value": number, "value_type": kind}
        for objective, (number, kind) in enumerate(stored)
    ]


def _attrs(trial_id: int, attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": name, "value_json": json.dumps(value)}
        for name, value in attrs.items()
    ]


def _last_report(session: Session, trial_id: int) -> list[float] | None:
    """The value that was reported last; None if there is none, or it is no number."""
    report = models.TrialIntermediateValueModel
    find = select(report.intermediate_value, report.intermediate_value_type)
    last = find.where(report.trial_id == trial_id).order_by(report.step.desc()).limit(1)
    for number, kind in session.execute(last):
        value = report.stored_repr_to_intermediate_value(number, kind)
        return None if math.isnan(value) else [value]
    return None
