"""How evenly several models were tuned: budgets, costs, spaces, expected best by trials."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from recsweep.comparison.markdown import markdown_table
from recsweep.comparison.page import GRID
from recsweep.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

MANY_TIMES = 3
"""Ratio from which one model's wall time is called many times another's."""
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's palette, distinguishable by colour-blind readers."""

_ABOUT = """\
Expected best: the mean over all ways to draw so many trials of a study, with replacement, of the \
best validation value among them (Dodge et al. 2019). It takes trials for independent draws, as in \
random search. In the plot, the band is ± one standard deviation over the draws, clipped to the \
observed values. A sampler that learns from earlier trials (TPE) draws better ones later on, so \
the left of its curve is optimistic: the first trials did not do as well. The right end is \
pessimistic for every sampler: drawing again repeats some trials, so it stays below the best value \
found. A pruned trial counts with the value it was stopped at, since the pruner held it to be \
hopeless; a failed one does not count."""


@dataclass(frozen=True)
class Tuning:
    """The cost and results of a study; larger values are better.

    Args:
        study: The study's name.
        objective: The objective on validation, such as `ndcg@100`.
        n_asked: Number of trials requested.
        values: Values of complete trials, by trial number.
        n_complete: Trials that finished.
        n_pruned: Trials that were pruned.
        n_failed: Trials without a value.
        wall_s: Total wall time of all trials, in seconds.
        cpu_s: Total CPU time of all trials, in seconds; None = not measured.
        peak_bytes: Peak memory of a process; None = not measured.
        space: Searched key -> expression, such as `model.beta` -> `interval(0.0,1.0)`.
        default: Value of the default settings; None = not tried.
        tuned: Value of the best trial; None = no complete trial.
        pruned_values: Last value of each pruned trial.
        n_replicates: Trainings of a trial that is not pruned: one per fold or seed.
        n_trainings: Trainings that were begun.
    """

    study: str
    objective: str
    n_asked: int
    values: Sequence[float]
    n_complete: int
    n_pruned: int
    n_failed: int
    wall_s: float
    cpu_s: float | None
    peak_bytes: int | None
    space: Mapping[str, str]
    default: float | None
    tuned: float | None
    pruned_values: Sequence[float]
    n_replicates: int = 1
    n_trainings: int = 0

    @property
    def scored(self) -> tuple[float, ...]:
        """Values of complete and of pruned trials."""
        return (*self.values, *self.pruned_values)


class ExpectedBest(NamedTuple):
    """The best of n random trials, for each n from 1.

    Args:
        mean: Mean over the draws.
        deviation: Standard deviation over the draws.
    """

    mean: Float[np.ndarray, " trials"]
    deviation: Float[np.ndarray, " trials"]


def expected_best(values: Sequence[float], n: int | None = None) -> ExpectedBest:
    """Mean and deviation of the best of 1, 2, …, n trials drawn with replacement.

    With the N values in ascending order v₁ ≤ … ≤ v_N, the best of n draws is at most vᵢ with
    probability (i/N)ⁿ, so

        E = Σᵢ vᵢ · ((i/N)ⁿ − ((i−1)/N)ⁿ)    and    Var = Σᵢ (vᵢ − E)² · ((i/N)ⁿ − ((i−1)/N)ⁿ).

    This treats trials as independent draws, as in random search: for a sampler that learns,
    such as TPE, few trials look better than they were. E of N trials is below the best value.

    Args:
        values: The validation value of each trial, larger is better; at least one.
        n: The largest number of draws; None = as many as there are values.

    Raises:
        InputError: There is no value.

    Source:
        Dodge et al. 2019, Show your work: improved reporting of experimental results.
    """
    if not values:
        raise InputError("expected best needs at least one trial with a value, but found none")
    best = np.sort(np.asarray(values, dtype=np.float64))
    draws = np.arange(1, (n or len(best)) + 1)[:, np.newaxis]
    is_at_most = (np.arange(len(best) + 1) / len(best)) ** draws
    chance = np.diff(is_at_most, axis=1)
    mean = chance @ best
    variance = np.sum(chance * (best - mean[:, np.newaxis]) ** 2, axis=1)
    return ExpectedBest(mean, np.sqrt(variance))


# --- table ---------------------------------------------------------------------------------------


def fairness_table(tunings: Sequence[Tuning]) -> "pd.DataFrame":
    """The cost and gain of each study.

    Args:
        tunings: Studies with the same objective.

    Returns:
        A row per study; the last column is the expected best at the largest number of scored
        trials that every study with a search has.

    Raises:
        InputError: There is no study, or they differ in the objective.
    """
    import pandas as pd  # slow to import, and only comparisons need it

    _refuse_unequal(tunings)
    n = min((len(each.scored) for each in _searched(tunings) if each.scored), default=1)
    columns: dict[str, list[float]] = {
        "asked": [each.n_asked for each in tunings],
        "complete": [each.n_complete for each in tunings],
        "pruned": [each.n_pruned for each in tunings],
        "failed": [each.n_failed for each in tunings],
        **_trainings(tunings),
        "wall_s": [each.wall_s for each in tunings],
        "cpu_s": [_or_nan(each.cpu_s) for each in tunings],
        "peak_bytes": [_or_nan(each.peak_bytes) for each in tunings],
        "dimensions": [len(each.space) for each in tunings],
        "default": [_or_nan(each.default) for each in tunings],
        "tuned": [_or_nan(each.tuned) for each in tunings],
        "gain": [_or_nan(each.tuned) - _or_nan(each.default) for each in tunings],
        f"expected_best_of_{n}": [
            expected_best(each.scored, n).mean[-1] if each.scored else np.nan for each in tunings
        ],
    }
    return pd.DataFrame(columns, index=pd.Index([each.study for each in tunings], name="study"))


def _trainings(tunings: Sequence[Tuning]) -> dict[str, list[float]]:
    """A column with the trainings of each study, where a trial may have several."""
    if all(each.n_replicates == 1 for each in tunings):
        return {}
    return {"trainings": [each.n_trainings for each in tunings]}


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _refuse_unequal(tunings: Sequence[Tuning]) -> None:
    objectives = {each.objective: each.study for each in tunings}
    if len(objectives) != 1:
        found = ", ".join(f"{study} has {name}" for name, study in objectives.items())
        raise InputError(
            f"studies whose tuning is compared must have the same objective, but "
            f"{found or 'there is no study'}; name sweeps with the same objective"
        )


def _searched(tunings: Sequence[Tuning]) -> list[Tuning]:
    return [each for each in tunings if each.space]


def fairness_markdown(tunings: Sequence[Tuning]) -> str:
    """The table, the sources of unevenness, what expected best means, and every search space.

    Raises:
        InputError: There is no study, or they differ in the objective.
    """
    table = fairness_table(tunings)
    head = ["study", *(_HEADS.get(str(name), str(name).replace("_", " ")) for name in table)]
    columns = [
        ["" if np.isnan(value) else _FORMATS[str(name).partition("_of_")[0]](value)
         for value in values]
        for name, values in table.items()
    ]  # fmt: skip
    rows = list(zip(map(_code, table.index), *columns, strict=True))
    found = list(unevenness(tunings)) or [
        "Every study was asked for and finished the same number of trials, in comparable time."
    ]
    spaces = [[_code(t.study), _code(key), _code(t.space[key])] for t in tunings for key in t.space]
    parts = [
        f"Validation {tunings[0].objective} of all trials.",
        markdown_table(head, rows),
        "\n".join(f"- {sentence}" for sentence in found),
        _ABOUT,
        markdown_table(["study", "searched", "range"], spaces)
        if spaces
        else "Nothing was searched.",
    ]
    return "\n\n".join(parts) + "\n"


_HEADS = {
    "wall_s": "wall time",
    "cpu_s": "CPU time",
    "peak_bytes": "peak memory",
    "dimensions": "searched dimensions",
}


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


_FORMATS: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(
        ("asked", "complete", "pruned", "failed", "trainings", "dimensions"), "{:.0f}".format
    ),
    **dict.fromkeys(("wall_s", "cpu_s"), _duration),
    "peak_bytes": lambda size: f"{size / 2**30:.2f} GiB",
    **dict.fromkeys(("default", "tuned", "expected_best"), "{:.4f}".format),
    "gain": "{:+.4f}".format,
}


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _differing(what: str, tunings: Sequence[Tuning], numbers: Sequence[int]) -> Iterator[str]:
    """A sentence if the numbers differ."""
    if len(set(numbers)) > 1:
        pairs = zip(tunings, numbers, strict=True)
        listed = ", ".join(f"{each.study} {number}" for each, number in pairs)
        yield f"Different numbers of {what}: {listed}."


def unevenness(tunings: Sequence[Tuning]) -> Iterator[str]:
    """A sentence for each way in which one study had an advantage over another.

    Studies without a search need one trial and are not counted.
    """
    searched = _searched(tunings)
    counts = {
        "asked for": [each.n_asked for each in searched],
        "finished with a value": [each.n_complete + each.n_pruned for each in searched],
    }
    for what, numbers in counts.items():
        yield from _differing(f"trials were {what}", searched, numbers)
    replicates = [each.n_replicates for each in searched]
    yield from _differing("trainings were asked for per trial", searched, replicates)
    for each in tunings:
        if each.n_failed:
            yield f"{each.study}: {each.n_failed} of {each.n_asked} trials failed."
    timed = sorted((each for each in searched if each.scored), key=lambda each: each.wall_s)
    if timed and timed[-1].wall_s >= MANY_TIMES * timed[0].wall_s > 0:
        fast, slow = timed[0], timed[-1]
        yield (
            f"{slow.study} took {slow.wall_s / fast.wall_s:.0f} times the wall time of "
            f"{fast.study} ({_duration(slow.wall_s)} and {_duration(fast.wall_s)})."
        )
    for each in tunings:
        if not each.space:
            yield f"{each.study} searches nothing: its settings are the configuration's own."


# --- plots ---------------------------------------------------------------------------------------


class _Curve(NamedTuple):
    study: str
    color: str
    trials: Float[np.ndarray, " trials"]
    mean: Float[np.ndarray, " trials"]
    low: Float[np.ndarray, " trials"]
    high: Float[np.ndarray, " trials"]


def _curves(tunings: Sequence[Tuning]) -> Iterator[_Curve]:
    """One per study with a value; for a study without a search it is constant over all trials."""
    _refuse_unequal(tunings)
    longest = max(len(each.scored) for each in tunings)
    for each, color in zip(tunings, cycle(COLORS), strict=False):
        if each.scored:
            mean, deviation = expected_best(each.scored, None if each.space else longest)
            low = np.maximum(mean - deviation, min(each.scored))
            high = np.minimum(mean + deviation, max(each.scored))
            yield _Curve(each.study, color, np.arange(1.0, len(mean) + 1), mean, low, high)


def plot_expected_best(tunings: Sequence[Tuning]) -> "Figure":
    """Expected best validation value by number of trials, as a Matplotlib figure.

    Args:
        tunings: One line each, with a band of ± one standard deviation over the draws, clipped to
            the observed values.

    Raises:
        InputError: There is no study, or they differ in the objective.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns about its font cache
    from matplotlib.figure import Figure  # slow to import, and only comparisons need it
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for curve in _curves(tunings):
        axes.fill_between(curve.trials, curve.low, curve.high, color=curve.color, alpha=0.15, lw=0)
        marker = "o" if len(curve.trials) == 1 else None
        axes.plot(curve.trials, curve.mean, color=curve.color, marker=marker, label=curve.study)
    axes.set(xlabel="trials", ylabel=f"expected best validation {tunings[0].objective}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if axes.get_lines():
        axes.legend(fontsize="small")
    return figure


def draw_expected_best(tunings: Sequence[Tuning]) -> "go.Figure":
    """The same as a Plotly figure, for a page.

    Args:
        tunings: One line each.

    Raises:
        InputError: There is no study, or they differ in the objective.
    """
    from plotly.graph_objects import Figure  # slow to import, and only comparisons need it

    figure = Figure()
    for curve in _curves(tunings):
        same = {"legendgroup": curve.study, "line_color": curve.color}
        figure.add_scatter(
            x=[*curve.trials, *curve.trials[::-1]], y=[*curve.low, *curve.high[::-1]],
            fill="toself", opacity=0.2, line_width=0, mode="lines", hoverinfo="skip",
            showlegend=False, **same,
        )  # fmt: skip
        mode = "markers" if len(curve.trials) == 1 else "lines"
        figure.add_scatter(x=curve.trials, y=curve.mean, name=curve.study, mode=mode, **same)
    n_trials = max(len(each.scored) for each in tunings)
    figure.update_xaxes(title="trials", dtick=max(n_trials // 8, 1), tick0=0, **GRID)  # no halves
    title = {"text": f"expected best validation {tunings[0].objective}", "standoff": 12}
    figure.update_yaxes(**GRID, title=title, automargin=True)
    return figure.update_layout(
        template="none", height=380, hovermode="x unified",
        margin={"l": 70, "r": 10, "t": 20, "b": 50}, font={"family": "system-ui, sans-serif"},
    )  # fmt: skip
