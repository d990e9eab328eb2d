"""Interactive plots of a sweep: Optuna draws with plotly, and this module adjusts the figures."""

import plotly.graph_objects as go
from optuna import visualization as optuna_draws
from plotly.colors import sample_colorscale, unlabel_rgb

from recsweep.sweeps.reporting.importance import Known
from recsweep.sweeps.reporting.plot_data import COLORS, LegibleStudy, label, worker

FONT, GRID = "system-ui, sans-serif", "rgba(128,128,128,.25)"
HEIGHT = 420
SCALE = ["rgb(138,143,152)", "rgb(194,24,91)"]
"""From the worst to the best trial, visible on black and on white."""
PALE_RED, DARK_RED = 247, 8
"""The red component of the lightest and the darkest blue in Optuna's plot."""


def style_figure(figure: go.Figure) -> go.Figure:
    """Style a figure for the page: no title, and axes visible on any background."""
    figure.update_layout(
        title=None, template="none", margin={"t": 20, "r": 20, "b": 50}, font_family=FONT,
        height=figure.layout.height or HEIGHT,
    )  # fmt: skip
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True, title_standoff=12)
    return figure


def history(shown: LegibleStudy) -> go.Figure:
    """The objective by trial, and the best so far."""
    figure = optuna_draws.plot_optimization_history(shown.study, target_name=shown.label)
    for trace, name in zip(figure.data, ("complete trial", "best so far"), strict=False):
        trace.update(name=name, line={"shape": "hv"})
    return figure.update_layout(xaxis_title="trial")


def importance(shown: LegibleStudy) -> go.Figure:
    """A bar per hyperparameter."""
    figure = optuna_draws.plot_param_importances(
        shown.study, Known(shown.importances), target_name=shown.label
    )
    return figure.update_layout(xaxis_title="share of the explained variance", yaxis_title="")


def slices(shown: LegibleStudy) -> go.Figure:
    """The objective by each hyperparameter."""
    figure = optuna_draws.plot_slice(shown.study, target_name=shown.label)
    return figure.update_xaxes(exponentformat="e", nticks=4)


def parallel(shown: LegibleStudy) -> go.Figure:
    """A line per complete trial, through all hyperparameters."""
    figure = optuna_draws.plot_parallel_coordinate(shown.study, target_name=shown.label)
    for trace in figure.select_traces(selector={"mode": "lines"}):
        red, *_ = unlabel_rgb(trace.line.color)
        goodness = (PALE_RED - red) / (PALE_RED - DARK_RED)
        color = sample_colorscale(SCALE, min(max(goodness, 0.0), 1.0))[0]
        trace.update(line_color=color, opacity=0.8)
    figure.update_traces(selector={"mode": "markers"}, marker_colorscale=SCALE)
    return figure


def curves(shown: LegibleStudy) -> go.Figure:
    """Validation by epoch for every trial; a pruned one ends with a cross."""
    figure, legends = optuna_draws.plot_intermediate_values(shown.study), set()
    for trace in figure.data:
        number = int(trace.name.removeprefix("Trial"))
        kind = shown.kind(number)
        trace.update(
            name=kind, legendgroup=kind, showlegend=kind not in legends, mode="lines",
            line={"color": COLORS[kind], "width": 3 if kind == "best" else 1},
            opacity=1.0 if kind == "best" else 0.6, marker=None,
            hovertemplate=f"trial {number}, epoch %{{x}}: %{{y:.4f}}<extra>{kind}</extra>",
        )  # fmt: skip
        if kind == "pruned":
            sizes = [0] * (len(trace.x) - 1) + [8]
            trace.update(mode="lines+markers", marker={"symbol": "x-thin-open", "size": sizes})
        legends.add(kind)
    figure.data = sorted(figure.data, key=lambda trace: trace.name == "best")  # on top
    return figure.update_layout(
        xaxis_title="epoch", yaxis_title=shown.label, showlegend=True, hovermode="closest"
    )


def workers(shown: LegibleStudy) -> go.Figure:
    """A bar from the start to the end of each trial, in the row of its worker."""
    figure, rows = optuna_draws.plot_timeline(shown.study), shown.status.rows
    for trace in figure.data:
        numbers = [int(number) for number in trace.y]
        trace.update(
            y=[worker(rows[number]) for number in numbers], name=shown.state(numbers[0]),
            customdata=numbers, textposition="inside", texttemplate="%{customdata}",
            marker={"color": COLORS[shown.state(numbers[0])], "line": {"color": "white"}},
        )  # fmt: skip
    places = shown.workers
    order = {"categoryorder": "array", "categoryarray": list(places), "autorange": "reversed"}
    return figure.update_layout(
        xaxis_title="time", yaxis={"title": "", "type": "category", **order},
        height=max(240, 120 + 40 * len(places)), barmode="overlay",
        uniformtext={"minsize": 8, "mode": "hide"},
    )  # fmt: skip


def speed(shown: LegibleStudy) -> go.Figure:
    """Training time against the objective; pruned trials are hollow."""
    figure = go.Figure()
    for kind, color in COLORS.items():
        if points := shown.speeds(kind):
            seconds, values, numbers = zip(*points, strict=True)
            symbol = "circle-open" if kind == "pruned" else "circle"
            figure.add_scatter(
                x=seconds, y=values, customdata=numbers, name=kind, mode="markers",
                marker={"color": color, "symbol": symbol, "size": 9},
                hovertemplate="trial %{customdata}: %{y:.4f} in %{x:.1f} s",
            )  # fmt: skip
    return figure.update_layout(
        xaxis_title=label("train_s"), yaxis_title=shown.label, showlegend=True
    )


def pareto(shown: LegibleStudy) -> go.Figure:
    """The Pareto front and the other trials."""
    names = [label(name) for name in shown.objectives]
    return optuna_draws.plot_pareto_front(shown.study, target_names=names)
