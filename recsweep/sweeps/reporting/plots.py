"""The plots of a sweep, how to read them, and the page with all of them.

Importing the plotting libraries takes seconds: import this only at the end of a sweep.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

import optuna

from recsweep.comparison.page import Section, html, subject
from recsweep.files import disk_errors_in_one_line, whole_file
from recsweep.messages import describe_error, shorten
from recsweep.run_files import OVERVIEW, SWEEP_PAGE
from recsweep.sweeps.reporting import plots_matplotlib, plots_plotly
from recsweep.sweeps.reporting.edges import remarks_on_edges
from recsweep.sweeps.reporting.plot_data import LegibleStudy
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.study.status import StudyStatus
from recsweep.tracking.store import mlflow_name

REASON_CHARACTERS = 200


@dataclass(frozen=True)
class Plot:
    """One plot, as an image and as a part of the page.

    Args:
        draw: The function that draws it, in `plots_matplotlib` and in `plots_plotly`.
        title: Its title.
        reading: How to read it, and what not to conclude.
        shown: The study to draw.
        missing: Why it cannot be drawn; empty = it can.
    """

    draw: str
    title: str
    reading: str
    shown: LegibleStudy
    missing: str = ""

    @property
    def name(self) -> str:
        """Name of its file and of its anchor in the page."""
        several = len(self.shown.status.objectives) > len(self.shown.objectives) == 1
        return f"{self.draw}_{mlflow_name(self.shown.objectives[0])}" if several else self.draw


def write_plots(study: optuna.Study, outcome: StudyOutcome, folder: Path) -> list[Path]:
    """Write `sweep.html`, which needs no network, and a PNG of every plot that can be drawn.

    Args:
        study: The study.
        outcome: Its outcome.
        folder: Output folder; created if it does not exist.

    Returns:
        The files, the page first.

    Raises:
        InputError: The files cannot be written.
    """
    page, pictures, status = folder / SWEEP_PAGE, [], outcome.status
    edges = remarks_on_edges(Space.of(study.user_attrs["space"]), status)
    remarks = "".join(f"\n\nAt an edge of the search: {remark}." for remark in edges)
    scores = "\n".join(outcome.lines()).strip("\n")
    about = f"{_subject(study, status)}\n\n```\n{scores}\n```{remarks}"
    sections = [Section(escape(status.study), about)]
    with disk_errors_in_one_line(folder, "sweep.folder"), _quiet():
        folder.mkdir(parents=True, exist_ok=True)
        for plot in _plots(study, status):
            file = folder / f"{plot.name}.png"
            image, section = _drawn(plot)
            sections.append(section)
            if image:
                with whole_file(file) as stream:
                    stream.write(image)
                pictures.append(file)
        if overview := _overview(study, status):
            pictures.append(folder / OVERVIEW)
            with whole_file(pictures[-1]) as stream:
                stream.write(overview)
        with whole_file(page) as stream:
            stream.write(html(sections).encode())
    return [page, *pictures]


def _subject(study: optuna.Study, status: StudyStatus) -> str:
    config = Space.of_study(study.user_attrs["space"]).branches[0].config
    name = str(config.get("data", {}).get("name", "data"))
    split = study.user_attrs["identity"]["fingerprint"]["split"]
    return subject([name], [split], (status.last_change or datetime.now()).date())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's warnings about experimental plots and small studies."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _drawn(plot: Plot) -> tuple[bytes | None, Section]:
    """A plot's PNG, if there is one, and its section of the page."""
    image, figure, missing = None, None, plot.missing
    if not missing:
        try:
            figure = plots_plotly.style_figure(getattr(plots_plotly, plot.draw)(plot.shown))
            with plots_matplotlib.off_screen():
                image = plots_matplotlib.png(getattr(plots_matplotlib, plot.draw)(plot.shown))
        except Exception as error:  # noqa: BLE001 - no plot is worth a sweep
            reason = describe_error(error)
            missing = f"the library that draws it failed ({shorten(reason, REASON_CHARACTERS)})"
    if missing:
        return None, Section(plot.title, f"This plot is missing: {missing}.")
    return image, Section(plot.title, plot.reading, figure)


def _overview(study: optuna.Study, status: StudyStatus) -> bytes | None:
    """A small picture of history and importance; None without two complete trials to draw."""
    if len(status.objectives) > 1:
        return None
    with suppress(Exception), plots_matplotlib.off_screen():  # a sweep must not fail here
        shown = LegibleStudy.of(study, status, status.objectives)
        if not shown.missing_pair:
            return plots_matplotlib.png(plots_matplotlib.overview(shown))
    return None


# --- which there are ------------------------------------------------------------------------------


def _plots(study: optuna.Study, status: StudyStatus) -> Iterator[Plot]:
    """All plots, in the order of the page."""
    shown = LegibleStudy.of(study, status, status.objectives)
    if len(status.objectives) == 1:
        yield from _of_one_objective(shown)
        yield _curves(shown)
    else:
        yield _pareto(shown)
        for objective in status.objectives:
            yield from _of_one_objective(LegibleStudy.of(study, status, [objective]))
    yield _parallel(shown)
    yield _speed(shown)
    yield _workers(shown)


def _of_one_objective(shown: LegibleStudy) -> Iterator[Plot]:
    yield Plot(
        "history", f"History of {shown.label}",
        "Each point is a complete trial, the line the best one so far. A line that still improves "
        "at its end suggests that the budget was too small. The best of many trials looks better "
        "than it is: rely on its test score.",
        shown, shown.missing_pair,
    )  # fmt: skip
    yield Plot(
        "importance", f"Importance of hyperparameters for {shown.label}",
        "The share of the variance over the whole space that a hyperparameter explains by itself "
        "(fANOVA, Hutter et al. 2014; complete trials only). A value that ruins a trial counts as "
        "much as one that improves it, and with fewer than about 50 trials it is only a hint. "
        + _only_some(shown),
        shown, shown.missing_importance,
    )  # fmt: skip
    yield Plot(
        "slices", f"{_capital(shown.label)} by hyperparameter",
        "Each point is a complete trial; later trials are darker. Trials are dense where the "
        "sampler searched, which proves nothing by itself; if the best ones are at the end of an "
        f"axis, search beyond it. {shown.outside}",
        shown, shown.missing_pair or shown.missing_params,
    )  # fmt: skip


def _curves(shown: LegibleStudy) -> Plot:
    lengths = [len(t.intermediate_values) for t in shown.study.get_trials(deepcopy=False)]
    longest = max(lengths, default=0)
    missing = "no trial has more than one epoch" if longest else "no trial has reported an epoch"
    return Plot(
        "curves", f"{_capital(shown.label)} by epoch",
        "All trials; a cross marks where one was pruned. Pruned curves that were still rising like "
        "the best one at that epoch suggest that the pruner is too aggressive.",
        shown, "" if longest > 1 else missing,
    )  # fmt: skip


def _parallel(shown: LegibleStudy) -> Plot:
    value = "its Pareto rank, 0 being the front" if len(shown.objectives) > 1 else "its value"
    return Plot(
        "parallel", "Parallel coordinates",
        f"Each line is a complete trial, coloured by {value}. Where the lines of good trials run "
        "together, they share a value; where they spread, it matters less.",
        shown, shown.missing_pair or shown.missing_params,
    )  # fmt: skip


def _pareto(shown: LegibleStudy) -> Plot:
    too_many = "there are more than three objectives" if len(shown.objectives) > 3 else ""
    return Plot(
        "pareto", "Pareto front",
        "No trial beats a red one in all objectives: which of the red ones is best is a choice, "
        "not a result.",
        shown, _no_trial(shown) or too_many,
    )  # fmt: skip


def _speed(shown: LegibleStudy) -> Plot:
    is_empty = not any(shown.speeds(kind) for kind in shown.kinds)
    return Plot(
        "speed", "Speed and quality",
        "Training time against the value at the best epoch. Hollow trials were pruned: with more "
        "time they might have improved. Times depend on the machine's other load.",
        shown, "no trial has a time and a value" if is_empty else "",
    )  # fmt: skip


def _workers(shown: LegibleStudy) -> Plot:
    return Plot(
        "workers", "Workers",
        "Which process (host:process) ran which trial when. A trial that was restarted after "
        "its process died shows only its last run.",
        shown, "" if shown.status.rows else "no trial has begun",
    )  # fmt: skip


def _no_trial(shown: LegibleStudy) -> str:
    return "" if shown.values else "no trial is complete"


def _only_some(shown: LegibleStudy) -> str:
    names = ", ".join(name for name in shown.params if name not in shown.shared)
    return f"Omitted, since only some trials have them: {names}." if names else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
