"""Hydra's grammar: sweeps such as `interval(0, 1)` as dimensions, values as exact text."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    ValueType,
)
from hydra.errors import HydraException
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from recsweep.errors import InputError
from recsweep.messages import one_line

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
_FORMS = "interval(a,b), int(interval(a,b)), range(a,b,step), choice(a,b) or a,b"
_READ_AS_NO_TEXT = {"true", "false", "null", "nan", "inf"}


@dataclass(frozen=True)
class Dimension:
    """A parameter of the search.

    Args:
        name: Optuna's name of it.
        distribution: Optuna's distribution of its values.
        is_encoded: The choices are strings in Hydra's grammar, for values that Optuna cannot store
            or distinguish: lists, mappings, null, and both 1 and true.
    """

    name: str
    distribution: Distribution
    is_encoded: bool = False

    def __str__(self) -> str:
        """The sweep in Hydra's grammar."""
        space = self.distribution
        if isinstance(space, CategoricalDistribution):
            choices = [encode(value) for value in self.edges]
            return ",".join(choices) if len(choices) > 1 else f"choice({choices[0]})"
        if space.low == space.high:
            return f"choice({space.low})"
        if self.is_stepped:
            stop = type(space.high)(Decimal(repr(space.high)) + Decimal(repr(space.step)))
            return f"range({space.low},{stop},{space.step})"
        text = f"interval({space.low},{space.high})"
        text = f"int({text})" if isinstance(space, IntDistribution) else text
        return f"tag(log,{text})" if self.is_log else text

    @property
    def is_stepped(self) -> bool:
        """Whether it is a range with a step other than that of its type."""
        step = getattr(self.distribution, "step", None)
        return step is not None and (step != 1 or isinstance(self.distribution, FloatDistribution))

    @property
    def is_log(self) -> bool:
        """Whether it is sampled on a logarithmic scale."""
        return bool(getattr(self.distribution, "log", False))

    @property
    def edges(self) -> list[Any]:
        """The values at both ends, or all choices; distinct."""
        space = self.distribution
        if isinstance(space, CategoricalDistribution):
            return [self.value(choice) for choice in space.choices]
        return [space.low, space.high] if space.low < space.high else [space.low]

    def suggest(self, trial: BaseTrial) -> Any:
        """Let an Optuna trial suggest the parameter."""
        space = self.distribution
        if isinstance(space, CategoricalDistribution):
            return trial.suggest_categorical(self.name, space.choices)
        is_int = isinstance(space, IntDistribution)
        suggest: Any = trial.suggest_int if is_int else trial.suggest_float
        return suggest(self.name, space.low, space.high, step=space.step, log=space.log)

    def value(self, parameter: Any) -> Any:
        """The setting's plain value for Optuna's parameter value."""
        if self.is_encoded:
            return decode(parameter)
        if isinstance(self.distribution, CategoricalDistribution):
            return parameter
        return (
            int(parameter) if isinstance(self.distribution, IntDistribution) else float(parameter)
        )

    def parameter(self, value: Any) -> Any:
        """Optuna's parameter value for a setting's value; None if it is outside."""
        space = self.distribution
        if isinstance(space, CategoricalDistribution):
            equal = (c for c in space.choices if are_same(self.value(c), value))
            return next(equal, None)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (isinstance(space, IntDistribution) and value % 1 != 0):
            return None
        return self.value(value) if space._contains(value) else None

    def nearest(self, value: Any) -> Any:
        """The same, but a number outside the interval is clipped to it."""
        space = self.distribution
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or isinstance(space, CategoricalDistribution):
            return self.parameter(value)
        return self.parameter(min(max(value, space.low), space.high))


def are_same(mine: object, theirs: object) -> bool:
    """Whether two values are equal; true and 1 are not."""
    return bool(mine == theirs) and isinstance(mine, bool) == isinstance(theirs, bool)


# --- values as text and back ----------------------------------------------------------------------


def encode(value: object) -> str:
    """A value as Hydra reads it on the command line; `decode` gives it back exactly."""
    override = Override(OverrideType.CHANGE, "key", ValueType.ELEMENT, _quoted(value))
    return override.get_value_element_as_str()


def _quoted(value: object) -> Any:
    """The value with quotes around all strings that would be parsed as something else."""
    if isinstance(value, list):
        return [_quoted(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _quoted(entry) for key, entry in value.items()}
    if not isinstance(value, str):
        return value
    is_word = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value)
    is_plain = is_word and value.lower() not in _READ_AS_NO_TEXT
    return value if is_plain else QuotedString(value, Quote.single)


def decode(text: str) -> Any:
    """The value of a string in Hydra's grammar."""
    return parse(f"key={text}").value()


def parse(line: str) -> Override:
    """Parse `key=value` in Hydra's grammar.

    Raises:
        InputError: It does not follow the grammar.
    """
    try:
        return OverridesParser.create().parse_override(line)
    except HydraException as error:
        reason = one_line(error)
        hint = "fix it"
        if "NoneType is incompatible" in reason:
            reason, hint = "choice() accepts no null", "write it without choice(): null,128"
        raise InputError(
            f"a sweep must be {_FORMS} in Hydra's grammar, but {line} is not ({reason}); {hint}"
        ) from error


# --- sweeps as dimensions -------------------------------------------------------------------------


def dimension(line: str) -> Dimension:
    """The dimension of `key=sweep`, named by its key.

    Raises:
        InputError: It is not a sweep, it is empty, or it cannot be sampled.
    """
    override = parse(line)
    sweep, key = override.value(), override.key_or_group
    if not isinstance(sweep, Sweep):
        raise InputError(f"a search space must be {_FORMS}, but {line} is not; use one of these")
    if sweep.tags - {"log"}:
        unknown = ", ".join(sorted(sweep.tags - {"log"}))
        raise InputError(f"the only tag of a search space is log, but {line} has {unknown}")
    if isinstance(sweep, IntervalSweep):
        return Dimension(key, _interval(sweep, line))
    if sweep.tags:
        raise InputError(
            f"the tag log needs an interval, but {line} is none; write tag(log,interval(a,b)) "
            "or drop the tag"
        )
    if isinstance(sweep, RangeSweep):
        return Dimension(key, _range(sweep, line))
    return _choice(key, [Override._convert_value(entry) for entry in sweep.list], line)


def _interval(sweep: IntervalSweep, line: str) -> Distribution:
    ends: list[Any] = [sweep.start, sweep.end]
    _refuse_infinite(ends, line)
    (low, high), is_log = ends, "log" in sweep.tags
    if low >= high:
        raise InputError(
            f"an interval must start below its end, but {line} does not; swap or separate its ends"
        )
    if is_log and low <= 0:
        raise InputError(
            f"tag(log,…) needs an interval above 0, but {line} starts at {low}; raise its lower "
            "end or drop the tag"
        )
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=is_log)
    return FloatDistribution(low, high, log=is_log)


def _range(sweep: RangeSweep, line: str) -> Distribution:
    """From the first to the last value: the stop of a range is excluded."""
    given = [sweep.start, sweep.stop, sweep.step]
    _refuse_infinite(given, line)
    start, stop, step = (Decimal(repr(number)) for number in given)
    n_values = math.ceil((stop - start) / step) if step else 0
    if n_values < 1:
        raise InputError(
            f"a range must contain a value, but {line} has none; its stop is excluded, and "
            "its step must lead from start to stop"
        )
    low, high = sorted([start, start + (n_values - 1) * step])
    if all(isinstance(number, int) for number in given):
        return IntDistribution(int(low), int(high), step=int(abs(step)))
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


def _choice(key: str, choices: list[Any], line: str) -> Dimension:
    if any(not isinstance(choice, int | float | str | list | dict | None) for choice in choices):
        raise InputError(f"a choice must be between values, but {line} is not; list the values")
    _refuse_infinite([choice for choice in choices if isinstance(choice, float)], line)
    texts = [encode(choice) for choice in choices]
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise InputError(f"choices must differ, but {line} has {twice} twice; drop one")
    is_plain = all(isinstance(choice, int | float | str) for choice in choices)
    if is_plain and len(set(choices)) == len(choices):
        return Dimension(key, CategoricalDistribution(choices))
    return Dimension(key, CategoricalDistribution(texts), is_encoded=True)


def _refuse_infinite(numbers: list[Any], line: str) -> None:
    for number in numbers:
        if not math.isfinite(number):
            raise InputError(
                f"a search space must be finite, but {line} has {number}; give a number"
            )
        if isinstance(number, int) and abs(number) >= 1 << 63:
            raise InputError(
                f"integers of a search space must fit into 64 bits, but {line} has {number}; give "
                "a number with a decimal point"
            )
