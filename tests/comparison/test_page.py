"""The page of a comparison: one file, with its plots, in a real browser and without a network."""

import re
from pathlib import Path
from typing import Any

import pytest
from scored_runs import scored_run

from recsweep.comparison.contenders import group_runs
from recsweep.comparison.page import Section, figure_of_pairs, figure_of_scores, html
from recsweep.comparison.rendering import write_comparison
from recsweep.comparison.statistics import Comparison, Statistics, compare

HOW = Statistics(metrics=None, unit="users", test="t", confidence=0.95, n_resamples=200, seed=0)
VALUES = {"ease": [0.5, 0.75, 0.5], "ials": [0.5, 0.5, 0.75], "popularity": [0.0, 0.25, 0.0]}


def runs(folder: Path) -> list[Any]:
    """Three models, one of them with two seeds."""
    each = [scored_run(folder, model, values) for model, values in VALUES.items()]
    return [*each, scored_run(folder, "ials", [0.25, 0.5, 0.75], seed=1)]


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    return compare(group_runs(runs(tmp_path / "runs")), HOW)


def test_means_intervals_and_seeds_are_drawn_where_they_are(found: Comparison) -> None:
    dots, means = figure_of_scores(found).data
    assert list(dots.y) == [1.3, 1.3], "below the second row"
    assert sorted(dots.x) == pytest.approx([0.5, 1.75 / 3])
    assert list(means.text) == ["ease", "ials", "popularity"]
    scores = [found.scores["ndcg@10"][name] for name in means.text]
    assert list(means.x) == [score.mean for score in scores]
    ends = [score.mean + width for score, width in zip(scores, means.error_x.array, strict=True)]
    assert ends == pytest.approx([score.interval.high for score in scores])


def test_differences_that_are_not_significant_are_hollow(found: Comparison) -> None:
    (drawn,) = figure_of_pairs(found).data
    assert list(drawn.text) == ["ease − ials", "ease − popularity", "ials − popularity"]
    expected = ["circle" if pair.adjusted_p <= HOW.alpha else "circle-open" for pair in found.pairs]
    assert list(drawn.marker.symbol) == expected
    assert "circle-open" in expected
    assert [adjusted for *_, adjusted in drawn.customdata] == [p.adjusted_p for p in found.pairs]
    assert any(pair.adjusted_p != pair.difference.p for pair in found.pairs)


def test_the_page_has_plotly_once_and_text_of_others_is_no_markup() -> None:
    page = html(
        [Section("A", "<script>alert(1)</script> | x"), Section("B", "| a |\n| --- |\n| 1 |")]
    )
    assert page.count("plotly.js v") == 1
    assert "<script>alert" not in page
    assert "<td>1</td>" in page


@pytest.mark.browser
def test_the_page_opens_from_disk_without_a_network_and_shows_its_plots(
    tmp_path: Path, found: Comparison, browser: Any
) -> None:
    extra = {"More": ("*text*", figure_of_scores(found))}
    write_comparison(list(found.contenders), tmp_path, HOW, extra)
    requests: list[str] = []
    problems: list[str] = []
    context = browser.new_context(offline=True, color_scheme="dark")
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "comparison.html").as_uri())
    page.wait_for_selector("#figure-3 svg.main-svg")
    assert page.locator("svg.main-svg").count() >= 3
    for number in (1, 2, 3):
        points = page.locator(f"#figure-{number} .scatterlayer path.point")
        assert points.count() >= len(VALUES)
        assert points.last.is_visible()
    colour = page.locator("#figure-1 .ytick text").first.evaluate("e => getComputedStyle(e).fill")
    labels = page.locator("#figure-1 .ytick text").all_text_contents()
    table = page.locator("table").first.inner_text()
    title = page.title()
    context.close()
    assert problems == []
    assert requests == [(tmp_path / "comparison.html").as_uri()]
    assert title == "Comparison"
    assert [label.strip() for label in labels] == ["ease", "ials", "popularity"]
    assert re.search(r"ease\s+0\.5833 ±", table)
    assert colour == "rgb(228, 232, 236)", "the text is light on the dark page"
