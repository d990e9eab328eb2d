"""One branch of a search space: a composed configuration and its searched keys."""

import copy
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution

from recsweep.build import build
from recsweep.defaults import resolve
from recsweep.errors import InputError
from recsweep.messages import shorten
from recsweep.sweeps.space.dimension import Dimension, are_same, encode

Config = dict[str, Any]
SHOWN_CHARACTERS = 60
REFERENCE = re.compile(r"\$\{(oc\.select:)?[\w.]+(,\w+)?\}")
"""A reference to another key, such as `${optimizer}` or `${oc.select:data.n_users,null}`."""


@dataclass(frozen=True)
class Branch:
    """The search under one combination of the searched groups' options.

    Args:
        choices: Searched group -> option; empty if no group is searched.
        config: Composed configuration, with unresolved interpolations.
        dimensions: Dotted key -> its search dimension.
        is_stored: Whether a study has stored it, rather than this command line composed it: then
            only references to its own keys are resolved, see `as_text`.
    """

    choices: dict[str, str]
    config: Config
    dimensions: dict[str, Dimension]
    is_stored: bool = False

    def at(self, settings: Mapping[str, Any]) -> Config:
        """The whole configuration with these values at their dotted keys, resolved.

        Raises:
            InputError: A required value is missing.
        """
        config = OmegaConf.create(self._config)
        for key in self.dimensions:
            value = as_text(settings[key]) if self.is_stored else settings[key]
            OmegaConf.update(config, key, value)
        return resolve(config)

    @property
    def _config(self) -> Config:
        return cast("Config", as_text(self.config)) if self.is_stored else self.config

    def refuse_foreign(self, settings: Mapping[str, Any]) -> None:
        """Check a trial's values against this branch, including the branch's own values.

        Args:
            settings: Group -> option and dotted key -> plain value.

        Raises:
            InputError: A value is not of the search space, or a key is missing or unknown.
        """
        own = self.choices | self.own_settings()
        for key in sorted(own.keys() | settings.keys()):
            if not (key in settings and self._has(key, settings[key], own)):
                found = repr(settings[key]) if key in settings else "missing"
                raise InputError(
                    f"a stored trial must have values of the search space, but {key} is "
                    f"{shorten(found, SHOWN_CHARACTERS)}; restore the study from a backup, or "
                    "start a new one with study=NAME"
                )

    def _has(self, key: str, value: Any, own: Config) -> bool:
        """Whether a value is searched, or the configuration's own one."""
        searched = self.dimensions.get(key)
        is_searched = searched is not None and searched.parameter(value) is not None
        return is_searched or (key in own and are_same(own[key], value))

    def own_settings(self) -> Config:
        """The configuration's own values of the searched keys."""
        return copy.deepcopy(self._own_settings)

    @cached_property
    def _own_settings(self) -> Config:
        config = resolve(OmegaConf.create(self._config))
        return {key: _at_key(config, key) for key in self.dimensions}

    def outside(self) -> list[str]:
        """The keys whose own value is outside the search space."""
        own = self.own_settings()
        return [key for key, d in self.dimensions.items() if d.parameter(own[key]) is None]

    def refuse_unusable(self) -> None:
        """Build optimizer and model at each edge of each dimension, one dimension at a time.

        Raises:
            InputError: A searched or fixed value is invalid, or a dimension has no effect.
        """
        start = self.own_settings()
        start.update({key: self.dimensions[key].edges[0] for key in self.outside()})
        self._build(start, None)
        for key, searched in self.dimensions.items():
            models = [self._build({**start, key: edge}, key) for edge in searched.edges]
            differ = not all(are_same(edge, searched.edges[0]) for edge in searched.edges)
            if differ and all(model == models[0] for model in models):
                raise InputError(unused_overrides(key, models[0]))

    def is_valid(self, settings: Config) -> bool:
        """Whether optimizer and model can be built with these settings.

        Args:
            settings: A value for each dimension, also outside of it.
        """
        try:
            self._build(settings, None)
        except InputError:
            return False
        return True

    def _build(self, settings: Config, varied: str | None) -> Any:
        """Build optimizer and model; return the model's configuration."""
        config = self.at(settings)
        try:
            for group in ("optimizer", "model"):
                build(config.get(group), group)
        except InputError as error:
            named = (key for key in self.dimensions if re.match(rf"{key}[ .:\[]", str(error)))
            key = next(named, varied)
            if key is None:
                raise
            raise InputError(self._complaint(key, settings[key], str(error))) from error
        return config.get("model")

    def _complaint(self, key: str, value: Any, sentence: str) -> str:
        searched = self.dimensions[key]
        problem = sentence.removesuffix(f"; change {key}")
        hint = "search valid values only"
        if isinstance(searched.distribution, FloatDistribution) and "integer" in problem:
            low, high = (f"{edge:g}" for edge in searched.edges)
            whole = shlex.quote(f"{key}=int(interval({low},{high}))")
            hint = f"write {'whole numbers' if searched.is_stepped else whole}"
        return (
            f"all searched values must be valid, but {key}={searched} includes "
            f"{encode(value)}: {problem}; {hint}"
        )


def _at_key(config: Any, key: str) -> Any:
    """The value at a dotted key of plain values; None if there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return copy.deepcopy(config)


def unused_overrides(key: str, model: Config) -> str:
    """An error message about a searched key that does not affect this model."""
    name = str(model.get("_target_")).rpartition(".")[2]
    return f"searched keys must affect the model, but {name} does not use {key}; drop {key}"


def as_text(node: Any) -> Any:
    """Plain values in which every `${…}` is text, except references to other keys.

    Args:
        node: Values with unresolved interpolations.
    """
    if isinstance(node, dict):
        return {key: as_text(value) for key, value in node.items()}
    if isinstance(node, list):
        return [as_text(value) for value in node]
    if not isinstance(node, str) or "${" not in REFERENCE.sub("", node):
        return node
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node)
