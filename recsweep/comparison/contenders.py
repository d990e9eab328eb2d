"""Groups runs that differ only in their seed into contenders; checks that these are comparable."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import pandas as pd

from recsweep.app import parameters, parameters_of_run
from recsweep.build import is_deterministic
from recsweep.errors import InputError
from recsweep.messages import one_line, shorten
from recsweep.runs.scored_run import ScoredRun
from recsweep.tracking.nested_runs import trial_name
from recsweep.trust import refuse_foreign

SEEDS = ("seed", "split.seed")
NAME_CHARACTERS = 40
_NO_CONTENT = (
    "task.", "tracking.", "cache_dir", "debug", "model_name", "threads", "evaluation_batch_size",
    "data.path", "split.path", "max_unpacked_gib", "max_compression_ratio",
)  # fmt: skip
"""Settings that affect no more of a result than its last digits; data have fingerprints."""


@dataclass(frozen=True)
class Contender:
    """A model with its results: one run or several replicates.

    Args:
        name: A short, unique name.
        replicates: Runs that differ only in their seeds, sorted by split and seed.
        trusted: Modules and classes whose code may be imported, see `recsweep.trust`.
    """

    name: str
    replicates: tuple[ScoredRun, ...]
    trusted: tuple[str, ...] = dataclass_field(default=(), repr=False)

    @property
    def study(self) -> str | None:
        """The sweep whose winner it is."""
        return self.replicates[0].study

    @property
    def objective(self) -> str | None:
        """The metric that its epochs were chosen by; None if not recorded."""
        return self.replicates[0].objective

    @property
    def n_configurations(self) -> int:
        """Number of configurations that its study has scored on test."""
        return max(run.n_configurations for run in self.replicates)

    @property
    def is_deterministic(self) -> bool:
        """Whether its model gives the same for every seed, as far as its class may be imported."""
        model = self.replicates[0].config["model"]
        try:
            refuse_foreign({"model": model}, self.trusted, self.name)
            return is_deterministic(model)
        except InputError:
            return False

    @property
    def splits(self) -> list[str]:
        """Distinct fingerprints of its splits."""
        return sorted({run.split for run in self.replicates})

    @property
    def metrics(self) -> list[str]:
        """Metrics that every replicate has per user, in the order of the runs."""
        return [
            str(name)
            for name in self.replicates[0].per_user
            if all(name in run.per_user for run in self.replicates)
        ]

    def of_users(self, metric: str) -> pd.Series:
        """Each user's mean over the replicates; index: split and user."""
        values = {(run.split, run.seed): run.per_user[metric] for run in self.replicates}
        return pd.concat(values, names=["split", "seed"]).groupby(level=[0, 2]).mean()

    def of_replicates(self, metric: str) -> pd.Series:
        """Each replicate's mean over its users; index: split and seed."""
        means = {(run.split, run.seed): run.per_user[metric].mean() for run in self.replicates}
        return pd.Series(means, dtype=float).sort_index()


# --- from runs to contenders ---------------------------------------------------------------------


def group_runs(runs: Sequence[ScoredRun], trusted: Iterable[str] = ()) -> list[Contender]:
    """Group runs into contenders.

    Args:
        runs: Runs of studies, or single ones; of two runs with the same configuration and the
            same seeds, the later one is used.
        trusted: Modules and classes whose code may be imported, see `recsweep.trust`.

    Returns:
        Contenders, in the order of the runs.
    """
    groups: dict[tuple[str | None, str], dict[tuple[str, int], ScoredRun]] = {}
    for run in runs:
        groups.setdefault((run.study, _identity(run)), {})[run.split, run.seed] = run
    replicates = [tuple(group[key] for key in sorted(group)) for group in groups.values()]
    names = _names([group[0] for group in replicates])
    known = tuple(trusted)
    return [Contender(*pair, known) for pair in zip(names, replicates, strict=True)]


def _settings(run: ScoredRun) -> dict[str, Any]:
    """The settings behind the run's result, without seeds."""
    settings = parameters_of_run(dict(run.config))
    return {
        key: value
        for key, value in settings.items()
        if key not in SEEDS and not key.startswith(_NO_CONTENT)
    }


def _identity(run: ScoredRun) -> str:
    return json.dumps(_settings(run), sort_keys=True, default=str)


def _names(firsts: Sequence[ScoredRun]) -> list[str]:
    """Names by model if unique, else by study, else by the settings that differ."""
    models = [one_line(run.model) for run in firsts]
    studies = [one_line(_study_label(run)) for run in firsts]
    settings = [
        one_line(_settings_label(run, [r for r in firsts if r.model == run.model]))
        for run in firsts
    ]
    names: list[str] = []
    for levels in zip(models, studies, settings, strict=True):
        unique = (
            label
            for label, all_labels in zip(levels, (models, studies, settings), strict=True)
            if label and all_labels.count(label) == 1
        )
        name = shorten(next(unique, levels[2]), NAME_CHARACTERS)
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def _study_label(run: ScoredRun) -> str:
    if run.study is None or run.study.startswith(run.model):
        return run.study or ""
    return f"{run.model} {run.study}"


def _settings_label(run: ScoredRun, of_model: Sequence[ScoredRun]) -> str:
    """The model with the settings in which its runs differ, each by the last part of its key."""
    settings = [_settings(other) for other in of_model]
    mine = _settings(run)
    differing = [
        key for key in mine if len({json.dumps(s.get(key), default=str) for s in settings}) > 1
    ]
    by_leaf = {key.rpartition(".")[2]: key for key in reversed(differing)}
    return trial_name(run.model, {key: mine[key] for key in reversed(by_leaf.values())})


def objectives(contenders: Sequence[Contender]) -> dict[str, list[str]]:
    """Each objective -> the names of the contenders with it, in the order of the contenders."""
    names: dict[str, list[str]] = {}
    for each in contenders:
        if each.objective is not None:
            names.setdefault(each.objective, []).append(each.name)
    return names


# --- may they be compared ------------------------------------------------------------------------


def refuse_unequal(contenders: Sequence[Contender], metrics: Sequence[str]) -> None:
    """Check that contenders differ only in the model.

    Args:
        contenders: All of them.
        metrics: Metrics to compare, such as `ndcg@100`.

    Raises:
        InputError: There are fewer than two, or they differ in the split, in the definition of a
            metric, or in the users.
    """
    if len(contenders) < 2:
        found = f"only {contenders[0].name}" if contenders else "none"
        raise InputError(
            f"a comparison needs at least two models or configurations, but found {found}; name "
            "more in task.of (runs that differ in their seeds only are replicates of one)"
        )
    first = contenders[0]
    for other in contenders[1:]:
        if other.splits != first.splits:
            raise InputError(
                f"contenders must have the same split.fingerprint, but {first.name} has "
                f"{_short(first.splits)} and {other.name} has {_short(other.splits)}; compare runs "
                "on the same data and the same split"
            )
    runs = [(each.name, run) for each in contenders for run in each.replicates]
    for metric in dict.fromkeys(name.partition("@")[0] for name in metrics):
        _refuse_difference(
            f"definition of {metric}", [(name, run.definitions.get(metric)) for name, run in runs]
        )
    for split in first.splits:
        _refuse_other_users([(name, run) for name, run in runs if run.split == split])


def _short(splits: Sequence[str]) -> str:
    return ", ".join(split[:12] for split in splits)


def _refuse_difference(field: str, found: Sequence[tuple[str, object]]) -> None:
    name, value = found[0]
    for other, different in found[1:]:
        if different != value:
            raise InputError(
                f"contenders must have the same {field}, but {name} has {value!r} and {other} has "
                f"{different!r}; evaluate both with the same version of recsweep"
            )


def _refuse_other_users(runs: Sequence[tuple[str, ScoredRun]]) -> None:
    name, first = runs[0]
    for other, run in runs[1:]:
        lacking = first.per_user.index.symmetric_difference(run.per_user.index)
        if len(lacking):
            raise InputError(
                f"contenders must have the same test users, but {name} has "
                f"{len(first.per_user):,} and {other} {len(run.per_user):,}, and user {lacking[0]} "
                "is not in both; evaluate both on the same users"
            )


def environments(contenders: Sequence[Contender]) -> Iterator[tuple[str, list[str]]]:
    """Commit, versions and machine as recorded by the runs.

    Yields:
        The field and its value for each contender: several values if its replicates differ, empty
        if none of them recorded it.
    """
    noted = [[run.environment for run in each.replicates] for each in contenders]
    fields = dict.fromkeys(field for each in noted for one in each for field in one)
    for field in fields:
        if field != "run_id":
            found = [dict.fromkeys(str(r[field]) for r in each if field in r) for each in noted]
            yield field, [", ".join(map(_short_hash, values)) for values in found]


def _short_hash(value: str) -> str:
    return value[:12] if re.fullmatch("[0-9a-f]{32,}", value) else value


def settings_of_model(run: ScoredRun) -> str:
    """The model's own settings, such as `l2=500.0`."""
    leaves = parameters(dict(run.config.get("model", {})))
    shown = {key: value for key, value in leaves.items() if not key.endswith("_target_")}
    return ", ".join(f"{key}={value}" for key, value in shown.items())
