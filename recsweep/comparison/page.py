"""The page of a comparison: one HTML file with plots that needs no network."""

from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial
from html import escape as escape_html
from typing import TYPE_CHECKING, Any, NamedTuple

from recsweep.comparison.markdown import escape
from recsweep.comparison.statistics import Comparison, Pair, Score

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# plotly and markdown-it are imported where they are used: only a comparison needs them.

ACCENT, MUTED = "#2f7fc1", "#8a8f98"  # both readable on white and on black
GRID = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False}
ROW_PIXELS, FRAME_PIXELS = 34, 112
PANEL_PIXELS, AXIS_PIXELS = 160, 110
"""Least widths: a figure that does not fit scrolls in its own box."""

_STYLE = """
:root { color-scheme: light dark; --text: #1d232b; --soft: #5c6570; --line: #d9dee4;
        --back: #fff; --band: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ec; --soft: #9aa4af; --line: #363d46; --back: #14181d; --band: #1b2027; } }
body { margin: 3rem auto; max-width: 76rem; padding: 0 1.5rem; background: var(--back);
       color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 1.2rem; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 .8rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums;
        border-top: 2px solid var(--text); border-bottom: 2px solid var(--text); }
th { text-align: left; font-weight: 600; border-bottom: 1px solid var(--text); }
th, td { padding: .32rem .9rem .32rem .2rem; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
td:first-child { white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: var(--band); }
ul { color: var(--soft); font-size: .86rem; padding-left: 1.1rem; }
p { color: var(--soft); font-size: .86rem; }
.wide, pre { overflow-x: auto; }
.wide + .wide { margin-top: 1.6rem; }
h1, li, p { overflow-wrap: break-word; }
.plotly-graph-div { margin-bottom: .6rem; }
.plotly-graph-div .infolayer text, .plotly-graph-div .cartesianlayer text,
.plotly-graph-div [class$="layer-above"] text { fill: var(--text) !important; }
"""

_SCRIPT = """
if (matchMedia("(pointer: coarse)").matches)  // a finger on a figure scrolls the page
  for (const figure of document.querySelectorAll(".js-plotly-plot"))
    Plotly.relayout(figure, {dragmode: false});
"""


as_html = partial(escape_html, quote=False)
"""A label of Plotly's, which takes tags such as <a> and <b> for what they are."""


class Section(NamedTuple):
    """A part of the page.

    Args:
        title: Its heading.
        markdown: Its text, in Markdown.
        figure: A Plotly figure shown above the text, or None.
    """

    title: str
    markdown: str
    figure: "Figure | None" = None


def subject(data: Iterable[str], splits: Iterable[str], day: date) -> str:
    """What a page is about: a line of Markdown below its title.

    Args:
        data: Names of the data sets.
        splits: Fingerprints of the splits.
        day: When it was made.
    """
    names, marks = sorted(set(data)), sorted({split[:12] for split in splits})
    return (
        f"data set{'s' * (len(names) > 1)} {', '.join(names)} · "
        f"split{'s' * (len(marks) > 1)} {', '.join(map(escape, marks))} · {day.isoformat()}"
    )


def html(sections: Sequence[Section]) -> str:
    """The whole page: each text below its figure, and Plotly's script once.

    Args:
        sections: The first section's title is the page's title.
    """
    from markdown_it import MarkdownIt
    from plotly.offline import get_plotlyjs

    text_of = MarkdownIt("commonmark", {"html": False}).enable("table")
    text_of.disable(["link", "image", "autolink"])  # a stored name must not fetch anything
    parts = []
    for number, section in enumerate(sections):
        level = "h2" if number else "h1"
        text = text_of.render(section.markdown)
        text = text.replace("<table>", '<div class="wide"><table>')
        text = text.replace("</table>", "</table></div>")
        drawn = "" if section.figure is None else _drawn(section.figure, f"figure-{number}")
        parts.append(f"<section>\n<{level}>{section.title}</{level}>\n{drawn}\n{text}</section>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{sections[0].title}</title>\n<style>{_STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n{body}\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _drawn(figure: "Figure", name: str) -> str:
    """A figure's HTML for a page of any width and colour; deterministic for the same name."""
    from plotly.graph_objects import Figure

    shown = Figure(figure).update_layout(
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )  # fmt: skip
    drawn = shown.to_html(
        full_html=False, include_plotlyjs=False, include_mathjax=False, div_id=name,
        config={"displayModeBar": False, "responsive": True},
    )  # fmt: skip
    axis = shown.layout.xaxis.tickvals or ()  # those of parallel coordinates
    n_panels = len(list(shown.select_xaxes()))
    width = max((n_panels + 1) * PANEL_PIXELS if n_panels > 1 else 0, len(axis) * AXIS_PIXELS)
    return f'<div class="wide"><div style="min-width: {width}px">{drawn}</div></div>'


def figure_of_scores(found: Comparison) -> "Figure":
    """Means with intervals, a panel per metric; below each mean its replicates as small dots."""
    names = [each.name for each in found.contenders]
    legend = "blue: best, or not significantly worse; small dots: single seeds"
    figure = _panels(found.metrics, names, legend)
    for column, metric in enumerate(found.metrics, 1):
        scores = [found.scores[metric][name] for name in names]
        dots = [
            (value, row + 0.3)
            for row, score in enumerate(scores)
            for value in score.by_replicate
            if len(score.by_replicate) > 1
        ]
        figure.add_scatter(
            x=[value for value, _ in dots], y=[place for _, place in dots], mode="markers",
            marker={"size": 5, "color": MUTED},
            hovertemplate="one seed %{x:.4f}<extra></extra>", row=1, col=column,
        )  # fmt: skip
        figure.add_scatter(**_intervals(scores, names), row=1, col=column)
    return figure


def _intervals(scores: Sequence[Score], names: Sequence[str]) -> dict[str, Any]:
    means = [score.mean for score in scores]
    return {
        "x": means,
        "y": list(range(len(names))),
        "text": [*map(as_html, names)],
        "mode": "markers",
        "marker": {"size": 9, "color": [ACCENT if score.mark else MUTED for score in scores]},
        "error_x": {
            "array": [score.interval.high - score.mean for score in scores],
            "arrayminus": [score.mean - score.interval.low for score in scores],
            "color": MUTED,
            "thickness": 1.6,
            "width": 4,
        },
        "customdata": [[score.interval.low, score.interval.high] for score in scores],
        "hovertemplate": (
            "%{text} %{x:.4f}<br>[%{customdata[0]:.4f}, %{customdata[1]:.4f}]<extra></extra>"
        ),
    }


def figure_of_pairs(found: Comparison) -> "Figure":
    """Differences with intervals, a panel per metric; hollow if not significant."""
    of_metric = {
        metric: [pair for pair in found.pairs if pair.metric == metric] for metric in found.metrics
    }
    names = [f"{pair.a} − {pair.b}" for pair in of_metric[found.metrics[0]]]
    figure = _panels(found.metrics, names, "hollow: not significant after Holm's adjustment")
    for column, pairs in enumerate(of_metric.values(), 1):
        figure.add_scatter(**_differences(pairs, found.statistics.alpha), row=1, col=column)
        figure.add_vline(x=0, line={"color": MUTED, "dash": "dot", "width": 1}, row=1, col=column)
    return figure


def _differences(pairs: Sequence[Pair], alpha: float) -> dict[str, Any]:
    found = [pair.difference for pair in pairs]
    return {
        "x": [each.mean for each in found],
        "y": list(range(len(pairs))),
        "text": [f"{pair.a} − {pair.b}" for pair in pairs],
        "mode": "markers",
        "marker": {
            "size": 9,
            "color": ACCENT,
            "symbol": [
                "circle" if pair.adjusted_p <= alpha else "circle-open" for pair in pairs
            ],
        },
        "error_x": {
            "array": [each.high - each.mean for each in found],
            "arrayminus": [each.mean - each.low for each in found],
            "color": MUTED,
            "thickness": 1.6,
            "width": 4,
        },
        "customdata": [[each.low, each.high, pair.adjusted_p]
                       for each, pair in zip(found, pairs, strict=True)],
        "hovertemplate": (
            "%{text} %{x:+.4f}<br>[%{customdata[0]:+.4f}, %{customdata[1]:+.4f}]"
            "<br>p (Holm) %{customdata[2]:.2g}<extra></extra>"
        ),
    }  # fmt: skip


def _panels(metrics: Sequence[str], rows: Sequence[str], legend: str) -> "Figure":
    """An empty figure: a panel per metric side by side, the first row on top."""
    from plotly.subplots import make_subplots

    titles = [*map(as_html, metrics)]
    figure = make_subplots(1, len(metrics), shared_yaxes=True, subplot_titles=titles,
                           horizontal_spacing=0.04)  # fmt: skip
    figure.update_xaxes(**GRID, nticks=5)
    figure.update_yaxes(
        **GRID,
        tickvals=list(range(len(rows))),
        ticktext=[*map(as_html, rows)],
        range=[len(rows) - 0.5, -0.5],
        automargin=True,
        ticksuffix="  ",
    )
    figure.update_annotations(font_size=13)
    figure.update_layout(
        template="none", showlegend=False, height=FRAME_PIXELS + ROW_PIXELS * len(rows),
        margin={"l": 10, "r": 10, "t": 62, "b": 40}, font={"family": "system-ui, sans-serif"},
        title={"text": legend, "font": {"size": 12}, "x": 0, "xref": "container", "y": 0.98,
               "yanchor": "top"},
        hoverlabel={"bgcolor": "#1d232b", "font_color": "#fff"},
    )  # fmt: skip
    return figure
