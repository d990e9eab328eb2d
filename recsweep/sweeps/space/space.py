"""The search space of a study: which settings vary, over which values, in which branch."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from optuna.distributions import (
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import BaseTrial

from recsweep.defaults import resolve
from recsweep.errors import InputError
from recsweep.known_keys import LISTS, unknown_key
from recsweep.messages import closest, suggest
from recsweep.sweeps.space.branch import Branch, Config, unused_overrides
from recsweep.sweeps.space.dimension import Dimension, Distribution, dimension, encode, parse

Compose = Callable[[list[str]], Config]
GROUPS = ("optimizer",)
"""Groups of the configuration whose options a study can search."""
SEARCHABLE = ("model.", "optimizer.")
REASONS = {
    "seed": "seeds are replicates, not settings",
    "k": "trials are compared by one objective",
    "metrics": "trials are compared by one objective",
    "objective": "trials are compared by one objective",
}
"""Why a key must be the same in all trials, if that is not obvious."""


@dataclass(frozen=True)
class Space:
    """The search space of a study.

    Args:
        branches: One per combination of options of the searched groups, in the order written.
        default: Index of the branch that the configuration itself selects; None = none of them.
    """

    branches: tuple[Branch, ...]
    default: int | None = 0

    @property
    def groups(self) -> dict[str, Dimension]:
        """The searched groups of the configuration; they determine the branch."""
        options = {
            group: list(dict.fromkeys(branch.choices[group] for branch in self.branches))
            for group in self.branches[0].choices
        }
        return {
            group: Dimension(group, CategoricalDistribution(names))
            for group, names in options.items()
        }

    def branch(self, params: Mapping[str, Any]) -> Branch:
        """The branch selected by these Optuna parameters."""
        chosen = {group: params[group] for group in self.branches[0].choices}
        return next(branch for branch in self.branches if branch.choices == chosen)

    def suggest(self, trial: BaseTrial) -> None:
        """Let an Optuna trial suggest the groups and all parameters of the chosen branch."""
        chosen = {group: choice.suggest(trial) for group, choice in self.groups.items()}
        for searched in self.branch(chosen).dimensions.values():
            searched.suggest(trial)

    def settings(self, params: Mapping[str, Any]) -> Config:
        """Settings of Optuna's parameters: group -> option and dotted key -> plain value."""
        branch = self.branch(params)
        values = {key: d.value(params[d.name]) for key, d in branch.dimensions.items()}
        return {**branch.choices, **values}

    def config(self, settings: Mapping[str, Any]) -> Config:
        """A trial's whole configuration, resolved.

        Args:
            settings: Group -> option and dotted key -> plain value, as a study has stored them.

        Raises:
            InputError: One is not of this space, or a required value is missing.
        """
        fitting = (each for each in self.branches if each.choices.items() <= settings.items())
        branch = next(fitting, self.branches[0])
        branch.refuse_foreign(settings)
        return branch.at(settings)

    def default_settings(self) -> Config | None:
        """The configuration's own values; None if the space has nothing near them."""
        if self.default_params() is None or self.default is None:
            return None
        branch = self.branches[self.default]
        return branch.choices | branch.own_settings()

    def default_params(self) -> Config | None:
        """Optuna's parameters of the configuration's own values, clipped to their intervals."""
        if self.default is None:
            return None
        branch = self.branches[self.default]
        own = branch.own_settings()
        near = {d.name: d.nearest(own[key]) for key, d in branch.dimensions.items()}
        return None if None in near.values() else branch.choices | near

    def default_outside(self) -> list[str]:
        """Own values outside the space, such as `model.l2 is 500.0, outside of 1,10`.

        Only those with nothing near them in the space, if there are such.
        """
        if self.default is None:
            return [f"{group} is none of {choice}" for group, choice in self.groups.items()]
        branch = self.branches[self.default]
        own, searched = branch.own_settings(), branch.dimensions
        far = [key for key, d in searched.items() if d.nearest(own[key]) is None]
        shown = far or branch.outside()
        return [f"{key} is {encode(own[key])}, outside of {searched[key]}" for key in shown]

    def describe(self) -> dict[str, str]:
        """Optuna's names -> sweeps in Hydra's grammar, which are equal for equal spaces."""
        searched = [d for branch in self.branches for d in branch.dimensions.values()]
        return {d.name: str(d) for d in (*self.groups.values(), *searched)}

    def plain(self) -> Config:
        """The space as a dict for JSON; `of` is the inverse."""
        return {
            "branches": [
                {
                    "choices": branch.choices,
                    "dimensions": {key: _plain(d) for key, d in branch.dimensions.items()},
                    "config": branch.config,
                }
                for branch in self.branches
            ],
            "default": self.default,
        }

    @classmethod
    def of_study(cls, plain: Mapping[str, Any]) -> "Space":
        """The inverse of `plain` for what a study has stored: variables in it are not resolved."""
        space = cls.of(plain)
        return replace(
            space, branches=tuple(replace(each, is_stored=True) for each in space.branches)
        )

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Space":
        """The inverse of `plain`."""
        return cls(
            tuple(
                Branch(
                    branch["choices"],
                    branch["config"],
                    {key: _dimension(d) for key, d in sorted(branch["dimensions"].items())},
                )
                for branch in plain["branches"]
            ),
            plain["default"],
        )


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """A trial's settings as exact Hydra overrides."""
    return [f"{key}={encode(value)}" for key, value in settings.items()]


def _plain(searched: Dimension) -> Config:
    return {
        "name": searched.name,
        "distribution": json.loads(distribution_to_json(searched.distribution)),
        "is_encoded": searched.is_encoded,
    }


def _dimension(plain: Config) -> Dimension:
    distribution = json_to_distribution(json.dumps(plain["distribution"]))
    return Dimension(plain["name"], cast("Distribution", distribution), plain["is_encoded"])


# --- from overrides and YAML to a space -----------------------------------------------------------


def make_space(compose: Compose, fixed: list[str], swept: list[str]) -> Space:
    """The search space of a command line and of `search:` in its configuration.

    Args:
        compose: Composes the configuration of a list of overrides: plain, without `hydra`, with
            unresolved interpolations.
        fixed: Overrides of all trials; their keys are removed from `search:`.
        swept: Overrides whose value is a sweep; they take precedence over `search:`.

    Raises:
        InputError: Something in the space cannot be searched.
    """
    given, taken = _by_key(fixed, swept)
    base = compose(fixed)
    groups = {
        key: _options(line) for key, line in _searched(base, given, taken).items() if key in GROUPS
    }
    combinations = [dict(zip(groups, names, strict=True)) for names in product(*groups.values())]
    configs = [_composed(compose, fixed, choices) if choices else base for choices in combinations]
    searched = [_searched(config, given, taken) for config in configs]
    _refuse_unsearchable(searched, configs)
    dimensions = [_dimensions(*pair) for pair in zip(configs, searched, strict=True)]
    branches = _named(list(map(Branch, combinations, configs, dimensions)))
    for branch in branches:
        branch.refuse_unusable()
    _refuse_unused(groups, configs)
    return Space(branches, configs.index(base) if base in configs else None)


def _by_key(fixed: list[str], swept: list[str]) -> tuple[dict[str, str], set[str]]:
    """The command line's sweeps by key, and its fixed keys."""
    taken = {parse(line).key_or_group for line in fixed}
    given: dict[str, str] = {}
    for line in swept:
        override = parse(line)
        key = override.key_or_group
        if override.get_key_element() != key:
            raise InputError(
                f"a searched key must exist in the configuration, but {line} adds a new one; "
                f"write {key}={override.get_value_string()}"
            )
        if key in given or key in taken:
            raise InputError(f"a key must be given once, but {key} is given twice; drop one")
        given[key] = line
    return given, taken


def _searched(config: Config, given: dict[str, str], taken: set[str]) -> dict[str, str]:
    """Key -> `key=sweep`, from the configuration and then from the command line."""
    search = config.get("search", {})
    if not isinstance(search, dict):
        raise InputError(f"search must list settings and their sweeps, but is {search!r}; fix it")
    for key, sweep in search.items():
        if not isinstance(sweep, str):
            raise InputError(
                f"search must give each dotted key a sweep such as interval(0,1) or choice(a,b), "
                f"but search has {key}: {sweep}; fix it"
            )
    chosen = {group for group in GROUPS if group in taken | given.keys()}
    foreign = {key for key in search if key.partition(".")[0] in chosen} - setting_names(config)
    own = {key: f"{key}={search[key]}" for key in search if key not in taken | foreign}
    return own | given


def _options(line: str) -> list[str]:
    group = dimension(line)
    if not isinstance(group.distribution, CategoricalDistribution):
        raise InputError(f"a group must be searched by its options, but {line} has none; write a,b")
    return [name if isinstance(name, str) else encode(name) for name in group.edges]


def _composed(compose: Compose, fixed: list[str], choices: dict[str, str]) -> Config:
    chosen = [f"{group}={encode(option)}" for group, option in choices.items()]
    try:
        return compose([*fixed, *chosen])
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = error.options or []
        hint = suggest(closest(name, options), "choose among these")
        known = ", ".join(options)
        raise InputError(f"{group} must be one of {known}, but is {name}; {hint}") from error
    except HydraException as error:
        raise InputError(
            f"cannot compose {' '.join(chosen)}: {str(error).splitlines()[0]}; use only keys "
            "that all choices have, or drop this one"
        ) from error


def _refuse_unsearchable(searched: list[dict[str, str]], configs: list[Config]) -> None:
    """Raise InputError for a key that no branch has, or that is not of model or optimizer."""
    known = {key for config in configs for key in setting_names(config)}
    for key, line in (item for lines in searched for item in lines.items()):
        if key not in known:
            raise InputError(unknown_key(key, sorted(known)))
        if key not in GROUPS and not key.startswith(SEARCHABLE):
            reason = REASONS.get(key, "only settings of model and optimizer can be searched")
            value = line.partition("=")[2]
            as_list = f", such as '{key}=[{value}]'" if key in LISTS else ""
            raise InputError(
                f"{key} must be the same in all trials, but {line} searches it ({reason}); give it "
                f"one value{as_list}"
            )


def _refuse_unused(groups: Collection[str], configs: list[Config]) -> None:
    """Raise InputError for a group whose options all result in the same model."""
    models = [resolve(OmegaConf.create(config))["model"] for config in configs]
    if len(models) > 1 and all(model == models[0] for model in models):
        raise InputError(unused_overrides(", ".join(groups), models[0]))


def setting_names(config: Config) -> set[str]:
    """All keys of the configuration except those of `search:`, which only refer to others."""
    return set(_keys({name: node for name, node in config.items() if name != "search"}))


def _keys(node: Any, prefix: str = "") -> list[str]:
    """The paths of all keys below `node`."""
    if not isinstance(node, dict):
        return []
    paths = {f"{prefix}{name}": child for name, child in node.items()}
    return [key for path, child in paths.items() for key in (path, *_keys(child, f"{path}."))]


def _dimensions(config: Config, searched: dict[str, str]) -> dict[str, Dimension]:
    """Dimensions of the searched keys that the configuration has, sorted by key."""
    there = setting_names(config) - set(GROUPS)
    return {key: dimension(searched[key]) for key in sorted(searched) if key in there}


def _named(branches: list[Branch]) -> tuple[Branch, ...]:
    """Name a key after its branch if branches search it differently: Optuna has no branches."""
    return tuple(
        replace(branch, dimensions={k: _name(k, branch, branches) for k in branch.dimensions})
        for branch in branches
    )


def _name(key: str, branch: Branch, branches: list[Branch]) -> Dimension:
    mine = branch.dimensions[key]
    if all(other.dimensions.get(key, mine) == mine for other in branches):
        return mine
    choices = ",".join(f"{group}={option}" for group, option in branch.choices.items())
    return replace(mine, name=f"{key}[{choices}]")
