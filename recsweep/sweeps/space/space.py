"""The search space of a study: which settings vary, where, and in which branch of a choice."""

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

from recsweep.errors import InputError
from recsweep.known_keys import unknown_key
from recsweep.messages import closest
from recsweep.sweeps.space.branch import Branch, Config, resolve, unused_overrides
from recsweep.sweeps.space.dimension import Dimension, Distribution, dimension, encode, parse

Compose = Callable[[list[str]], Config]
GROUPS = ("optimizer",)
"""Groups of the configuration whose options one study can search."""
SEARCHABLE = ("model.", "optimizer.")
REASONS = {
    "seed": "seeds are replicates, not settings",
    "k": "trials are compared by one objective",
    "metrics": "trials are compared by one objective",
    "objective": "trials are compared by one objective",
}
"""Why a key is the same in all trials, where that is not plain."""


@dataclass(frozen=True)
class Space:
    """Everything that the trials of a study may be.

    Args:
        branches: One per combination of options of the searched groups, in the order of writing.
        default: Which of them the configuration is when nothing is searched; None = none of them.
    """

    branches: tuple[Branch, ...]
    default: int | None = 0

    @property
    def groups(self) -> dict[str, Dimension]:
        """The searched groups of the configuration; they decide on the branch."""
        options = {
            group: list(dict.fromkeys(branch.choices[group] for branch in self.branches))
            for group in self.branches[0].choices
        }
        return {
            group: Dimension(group, CategoricalDistribution(names))
            for group, names in options.items()
        }

    def branch(self, params: Mapping[str, Any]) -> Branch:
        """The branch that these Optuna parameters chose."""
        chosen = {group: params[group] for group in self.branches[0].choices}
        return next(branch for branch in self.branches if branch.choices == chosen)

    def suggest(self, trial: BaseTrial) -> None:
        """Ask an Optuna trial for every parameter of the branch that it chooses."""
        chosen = {group: choice.suggest(trial) for group, choice in self.groups.items()}
        for searched in self.branch(chosen).dimensions.values():
            searched.suggest(trial)

    def settings(self, params: Mapping[str, Any]) -> Config:
        """What Optuna's parameters mean: group -> option and dotted key -> plain value."""
        branch = self.branch(params)
        values = {key: d.value(params[d.name]) for key, d in branch.dimensions.items()}
        return {**branch.choices, **values}

    def config(self, settings: Mapping[str, Any]) -> Config:
        """A trial's whole configuration, resolved.

        Args:
            settings: Group -> option and dotted key -> plain value.

        Raises:
            InputError: A value that must be given is missing.
        """
        return self.branch(settings).at(settings)

    def default_settings(self) -> Config | None:
        """The configuration's own values; None where the space has nothing near them."""
        if self.default_params() is None or self.default is None:
            return None
        branch = self.branches[self.default]
        return branch.choices | branch.own_settings()

    def default_params(self) -> Config | None:
        """Optuna's parameters of them, a number beyond an interval being its end."""
        if self.default is None:
            return None
        branch = self.branches[self.default]
        own = branch.own_settings()
        near = {d.name: d.nearest(own[key]) for key, d in branch.dimensions.items()}
        return None if None in near.values() else branch.choices | near

    def default_outside(self) -> list[str]:
        """Where they are not in the space, such as `model.l2 is 500.0, outside of 1,10`."""
        if self.default is None:
            return [f"{group} is none of {choice}" for group, choice in self.groups.items()]
        branch = self.branches[self.default]
        own, searched = branch.own_settings(), branch.dimensions
        return [f"{k} is {encode(own[k])}, outside of {searched[k]}" for k in branch.outside()]

    def described(self) -> dict[str, str]:
        """Optuna's names -> sweeps in Hydra's grammar: short, and equal for equal spaces."""
        searched = [d for branch in self.branches for d in branch.dimensions.values()]
        return {d.name: str(d) for d in (*self.groups.values(), *searched)}

    def plain(self) -> Config:
        """All of it for JSON; `of` gives it back."""
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
    def of(cls, plain: Mapping[str, Any]) -> "Space":
        """The space that `plain` wrote down."""
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
    """A trial's settings as Hydra overrides, exact to the last bit."""
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
    """The space that a command line and the `search:` of its configuration describe.

    Args:
        compose: Composed configuration of a list of overrides: plain, without `hydra`, its
            interpolations not resolved.
        fixed: Overrides that hold in all trials; they take their keys out of `search:`.
        swept: Overrides whose value is a sweep; they replace what `search:` says of their keys.

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
    """The command line's sweeps by key, and the keys that it fixes."""
    taken = {parse(line).key_or_group for line in fixed}
    given: dict[str, str] = {}
    for line in swept:
        override = parse(line)
        key = override.key_or_group
        if override.get_key_element() != key:
            raise InputError(
                f"a searched key must be one that the configuration has, but {line} is written as "
                f"a new one; write {key}={override.get_value_string()}"
            )
        if key in given or key in taken:
            raise InputError(f"a key must be given once, but {key} is given twice; leave one out")
        given[key] = line
    return given, taken


def _searched(config: Config, given: dict[str, str], taken: set[str]) -> dict[str, str]:
    """Key -> `key=sweep`: what the configuration says, then what the command line says."""
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
    foreign = {key for key in search if key.partition(".")[0] in chosen} - _settings(config)
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
        close = closest(name, options)
        hint = f"did you mean {close}?" if close else "choose among these"
        known = ", ".join(options)
        raise InputError(f"{group} must be one of {known}, but is {name}; {hint}") from error
    except HydraException as error:
        raise InputError(
            f"every choice must compose, but {' '.join(chosen)} does not: "
            f"{str(error).splitlines()[0]}; give what all choices have, or leave this one out"
        ) from error


def _refuse_unsearchable(searched: list[dict[str, str]], configs: list[Config]) -> None:
    """Raise InputError for a key that no branch has, or that is no matter of model or optimizer."""
    known = {key for config in configs for key in _settings(config)}
    for key, line in (item for lines in searched for item in lines.items()):
        if key not in known:
            raise InputError(unknown_key(key, sorted(known)))
        if key not in GROUPS and not key.startswith(SEARCHABLE):
            reason = REASONS.get(key, "only settings of model and optimizer can be searched")
            raise InputError(
                f"{key} must be the same in all trials, but {line} searches it ({reason}); give it "
                "one value"
            )


def _refuse_unused(groups: Collection[str], configs: list[Config]) -> None:
    """Raise InputError for a group whose options all give the same model."""
    models = [resolve(OmegaConf.create(config))["model"] for config in configs]
    if len(models) > 1 and all(model == models[0] for model in models):
        raise InputError(unused_overrides(", ".join(groups), models[0]))


def _settings(config: Config) -> set[str]:
    """Every key of the configuration but those of `search:`, which only speaks of others."""
    return set(_keys({name: node for name, node in config.items() if name != "search"}))


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Every key below `node`, with its path."""
    if not isinstance(node, dict):
        return []
    paths = {f"{prefix}{name}": child for name, child in node.items()}
    return [key for path, child in paths.items() for key in (path, *_keys(child, f"{path}."))]


def _dimensions(config: Config, searched: dict[str, str]) -> dict[str, Dimension]:
    """What is searched where there is such a key, in an order that no way of writing changes."""
    there = _settings(config) - set(GROUPS)
    return {key: dimension(searched[key]) for key in sorted(searched) if key in there}


def _named(branches: list[Branch]) -> tuple[Branch, ...]:
    """Where branches search a key in different ways, say so in its name: Optuna knows no branch."""
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
