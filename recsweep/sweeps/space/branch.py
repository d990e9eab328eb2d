"""One branch of a search space: a composed configuration and its searched keys."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import FloatDistribution

from recsweep.build import build
from recsweep.errors import InputError
from recsweep.sweeps.space.dimension import Dimension, encode

Config = dict[str, Any]


@dataclass(frozen=True)
class Branch:
    """The search under one combination of the searched groups' options.

    Args:
        choices: Searched group -> option; empty if no group is searched.
        config: Composed configuration, with unresolved interpolations.
        dimensions: Dotted key -> its search dimension.
    """

    choices: dict[str, str]
    config: Config
    dimensions: dict[str, Dimension]

    def at(self, settings: Mapping[str, Any]) -> Config:
        """The whole configuration with these values at their dotted keys, resolved.

        Raises:
            InputError: A required value is missing.
        """
        config = OmegaConf.create(self.config)
        for key in self.dimensions:
            OmegaConf.update(config, key, settings[key])
        return resolve(config)

    def own_settings(self) -> Config:
        """The configuration's own values of the searched keys."""
        return copy.deepcopy(self._own_settings)

    @cached_property
    def _own_settings(self) -> Config:
        config = OmegaConf.create(resolve(OmegaConf.create(self.config)))
        own = {key: OmegaConf.select(config, key) for key in self.dimensions}
        return {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in own.items()
        }

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
            if len(models) > 1 and all(model == models[0] for model in models):
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
            whole = f"{key}=int(interval({low},{high}))"
            hint = f"write {'whole numbers' if searched.is_stepped else whole}"
        return (
            f"all searched values must be valid, but {key}={searched} includes "
            f"{encode(value)}: {problem}; {hint}"
        )


def unused_overrides(key: str, model: Config) -> str:
    """An error message about a searched key that does not affect this model."""
    name = str(model.get("_target_")).rpartition(".")[2]
    return f"searched keys must affect the model, but {name} does not use {key}; drop {key}"


def resolve(config: DictConfig) -> Config:
    """An OmegaConf configuration as plain values.

    Raises:
        InputError: A required value is missing.
    """
    try:
        return cast("Config", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        reason, key = str(error).splitlines()[0], error.full_key
        raise InputError(f"{key} must have a value, but has none: {reason}; set {key}") from error
