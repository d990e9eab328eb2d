"""How even tuning was: expected best by enumeration and by hand, the table, what is said of it."""

import dataclasses
from itertools import product

import numpy as np
import pytest

from recsweep.comparison.fairness import (
    Tuning,
    draw_expected_best,
    expected_best,
    fairness_markdown,
    fairness_table,
    plot_expected_best,
    unevenness,
)
from recsweep.errors import InputError

EASE = Tuning(
    study="ease-1", objective="ndcg@100", n_asked=4, values=(0.40, 0.42, 0.41, 0.42),
    n_complete=4, n_pruned=0, n_failed=0, wall_s=130.0, cpu_s=200.0, peak_bytes=3 * 2**29,
    space={"model.l2": "tag(log, interval(1.0,10000.0))"}, default=0.40, tuned=0.42,
    pruned_values=(),
)  # fmt: skip
MULTIVAE = Tuning(
    study="multivae-1", objective="ndcg@100", n_asked=4, values=(0.38, 0.41),
    n_complete=2, n_pruned=2, n_failed=0, wall_s=260.0, cpu_s=500.0, peak_bytes=2**30,
    space={"model.beta": "interval(0.0,1.0)", "model.latent_dim": "choice(100,200)"},
    default=0.38, tuned=0.41, pruned_values=(0.20, 0.30),
)  # fmt: skip
POPULARITY = dataclasses.replace(
    EASE, study="popularity-1", n_asked=1, values=(0.19,), n_complete=1, wall_s=1.0, space={},
    default=0.19, tuned=0.19,
)  # fmt: skip
ALL_FAILED = dataclasses.replace(
    MULTIVAE, values=(), n_complete=0, n_pruned=0, n_failed=4, wall_s=3.0, cpu_s=None,
    peak_bytes=None, default=None, tuned=None, pruned_values=(), study="ials-1",
)  # fmt: skip


# --- expected best -------------------------------------------------------------------------------


def test_expected_best_of_a_coin_by_hand():
    """The best of n throws of {0, 1} is 0 with probability (½)ⁿ: E = 1 − (½)ⁿ, Var = E (1 − E)."""
    found = expected_best([1.0, 0.0], n=3)
    assert found.mean.tolist() == [1 / 2, 3 / 4, 7 / 8]
    assert found.deviation == pytest.approx([1 / 2, (3 / 16) ** 0.5, 7**0.5 / 8], rel=1e-12)


def test_expected_best_is_the_mean_over_all_ways_to_draw():
    values = [0.2, 0.4, 0.3, 0.4]
    found = expected_best(values)
    assert len(found.mean) == len(values)
    for n in range(1, 5):
        bests = [max(draw) for draw in product(values, repeat=n)]  # 4ⁿ of them
        assert found.mean[n - 1] == pytest.approx(np.mean(bests), rel=1e-12)
        assert found.deviation[n - 1] == pytest.approx(np.std(bests), rel=1e-12)


def test_expected_best_rises_from_the_mean_towards_the_best():
    values = np.random.default_rng(2019).normal(size=200).tolist()
    found = expected_best(values)
    assert found.mean[0] == pytest.approx(np.mean(values), rel=1e-9)
    assert (np.diff(found.mean) > 0).all()
    assert found.mean[-1] < max(values)


def test_expected_best_does_not_depend_on_the_order_of_trials():
    assert (
        expected_best([0.1, 0.3, 0.2]).mean.tolist() == expected_best([0.3, 0.2, 0.1]).mean.tolist()
    )


def test_a_single_trial_is_its_own_expected_best():
    found = expected_best([0.19], n=3)
    assert (found.mean.tolist(), found.deviation.tolist()) == ([0.19] * 3, [0.0] * 3)


# --- table ---------------------------------------------------------------------------------------


def test_a_row_says_what_a_study_spent_and_gained():
    row = fairness_table([EASE, MULTIVAE]).loc["multivae-1"]
    assert row[["asked", "complete", "pruned", "failed", "dimensions"]].tolist() == [4, 2, 2, 0, 2]
    assert row[["wall_s", "cpu_s", "peak_bytes"]].tolist() == [260, 500, 2**30]
    assert row["gain"] == pytest.approx(0.41 - 0.38)


def test_pruned_trials_count_in_expected_best_with_the_value_they_were_stopped_at():
    """Of .20 .30 .38 .41 drawn four times: Σ v · ((i/4)⁴ − ((i−1)/4)⁴), in 256ths 1 15 65 175."""
    expected = (0.20 * 1 + 0.30 * 15 + 0.38 * 65 + 0.41 * 175) / 256
    row = fairness_table([EASE, MULTIVAE]).loc["multivae-1"]
    assert row["expected_best_of_4"] == pytest.approx(expected, rel=1e-12)


def test_expected_best_is_compared_at_the_trials_that_every_search_has():
    """Of two draws from .40 .42 .41 .42 none is above .40 in 1/16, above .41 in 4/16: 1 3 12."""
    two = dataclasses.replace(MULTIVAE, n_pruned=0, n_failed=2, pruned_values=())
    table = fairness_table([EASE, two, POPULARITY, ALL_FAILED])
    best = table["expected_best_of_2"]
    assert best["ease-1"] == pytest.approx((0.40 * 1 + 0.41 * 3 + 0.42 * 12) / 16, rel=1e-12)
    assert best["popularity-1"] == 0.19
    assert np.isnan(best["ials-1"])


def test_what_was_not_measured_is_left_empty():
    lines = fairness_markdown([ALL_FAILED]).splitlines()
    row = next(line for line in lines if line.startswith("| `ials-1` | 4"))
    assert row == "| `ials-1` | 4 | 0 | 0 | 4 | 0:00:03 |  |  | 2 |  |  |  |  |"


def test_the_markdown_holds_numbers_spaces_and_how_the_estimate_is_meant():
    text = fairness_markdown([EASE, MULTIVAE])
    assert (
        "| `ease-1` | 4 | 4 | 0 | 0 | 0:02:10 | 0:03:20 | 1.50 GiB | 1 | 0.4000 | 0.4200 |" in text
    )
    assert "| `multivae-1` | `model.beta` | `interval(0.0,1.0)` |" in text
    assert "Validation ndcg@100" in text
    for word in ("random search", "optimistic", "pessimistic", "pruned trial counts"):
        assert word in text


def test_a_bar_in_an_expression_does_not_break_the_table():
    odd = dataclasses.replace(EASE, space={"model.kind": "choice('a|b',c)"})
    assert "| `ease-1` | `model.kind` | `choice('a\\|b',c)` |" in fairness_markdown([odd])


# --- unevenness ----------------------------------------------------------------------------------


def test_nothing_is_said_against_even_tuning():
    assert list(unevenness([EASE, MULTIVAE])) == []
    assert "the same number of trials" in fairness_markdown([EASE, MULTIVAE])


@pytest.mark.parametrize(
    ("tunings", "sentence"),
    [
        (
            [EASE, dataclasses.replace(MULTIVAE, n_asked=40)],
            "Different numbers of trials were asked for: ease-1 4, multivae-1 40.",
        ),
        (
            [EASE, dataclasses.replace(MULTIVAE, n_complete=1)],
            "Different numbers of trials were finished with a value: ease-1 4, multivae-1 3.",
        ),
        ([EASE, dataclasses.replace(EASE, n_failed=1)], "ease-1: 1 of 4 trials failed."),
        (
            [EASE, dataclasses.replace(MULTIVAE, wall_s=5200.0)],  # 5,200 / 130 = 40
            "multivae-1 took 40 times the wall time of ease-1 (1:26:40 and 0:02:10).",
        ),
        (
            [EASE, POPULARITY],  # one trial is all it needs: neither its number nor its time counts
            "popularity-1 searches nothing: its settings are the configuration's own.",
        ),
    ],
)
def test_each_unevenness_is_one_sentence(tunings, sentence):
    assert list(unevenness(tunings)) == [sentence]
    assert f"- {sentence}" in fairness_markdown(tunings).splitlines()


# --- plots ---------------------------------------------------------------------------------------


def test_both_plots_show_a_line_per_study_and_a_band_within_the_values_seen(tmp_path):
    tunings = [EASE, MULTIVAE, POPULARITY, ALL_FAILED]  # the last one has nothing to show
    figure = plot_expected_best(tunings)
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    assert list(lines) == ["ease-1", "multivae-1", "popularity-1"]
    assert lines["multivae-1"][:, 0].tolist() == [1, 2, 3, 4]
    assert lines["multivae-1"][:, 1] == pytest.approx(expected_best(MULTIVAE.scored).mean)
    assert lines["popularity-1"].tolist() == [[n, 0.19] for n in (1, 2, 3, 4)]  # level
    heights = axes.collections[1].get_paths()[0].vertices[:, 1]
    lowest = 0.3225 - 0.00661875**0.5  # mean and variance of .20 .30 .38 .41; + goes beyond .41
    assert (heights.min(), heights.max()) == (pytest.approx(lowest), 0.41)
    assert axes.get_ylabel() == "expected best validation ndcg@100"
    figure.savefig(tmp_path / "expected_best.png")
    drawn = [trace for trace in draw_expected_best(tunings).data if trace.name]
    assert {trace.name: list(trace.y) for trace in drawn} == {
        name: points[:, 1].tolist() for name, points in lines.items()
    }
    assert draw_expected_best(tunings).layout.xaxis.dtick == 1, "no half trials"
    assert {tick % 1 for tick in axes.get_xticks()} == {0}


def test_the_pages_bands_are_those_of_the_figure_and_its_legend_names_each_study_once():
    tunings = [EASE, MULTIVAE, POPULARITY]
    drawn, (axes,) = draw_expected_best(tunings).data, plot_expected_best(tunings).axes
    bands = [trace for trace in drawn if trace.name is None]
    for band, of_figure in zip(bands, axes.collections, strict=True):
        assert list(band.x) == [1, 2, 3, 4, 4, 3, 2, 1], "once around"
        outline = map(tuple, of_figure.get_paths()[0].vertices)
        assert set(zip(band.x, band.y, strict=True)) == set(outline)
    in_legend = [trace.name for trace in drawn if trace.showlegend is not False]
    assert in_legend == ["ease-1", "multivae-1", "popularity-1"]


def test_studies_without_a_value_make_an_empty_plot(tmp_path):
    plot_expected_best([ALL_FAILED]).savefig(tmp_path / "expected_best.png")
    assert len(draw_expected_best([ALL_FAILED]).data) == 0


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [fairness_table, fairness_markdown, plot_expected_best])
def test_bad_input_is_refused_in_one_line(report):
    other = dataclasses.replace(MULTIVAE, objective="recall@20")
    with pytest.raises(InputError, match="but ease-1 has ndcg@100, multivae-1 has recall@20;"):
        report([EASE, other])
    with pytest.raises(InputError, match="but there is no study;"):
        report([])
    with pytest.raises(InputError, match="at least one trial"):
        expected_best([])


# --- replicates ----------------------------------------------------------------------------------


def test_a_trial_of_five_folds_costs_five_trainings():
    folds = [dataclasses.replace(each, n_replicates=5, n_trainings=n) for each, n in (
        (EASE, 20), (MULTIVAE, 14),
    )]  # fmt: skip
    assert fairness_table(folds)["trainings"].tolist() == [20, 14]
    assert "| trainings |" in fairness_markdown(folds)
    assert "trainings" not in fairness_table([EASE, MULTIVAE]), "else they are the trials"
    assert "trainings" not in fairness_markdown([EASE, MULTIVAE])


def test_different_numbers_of_trainings_per_trial_are_said():
    seeds = dataclasses.replace(MULTIVAE, n_replicates=3, n_trainings=9)
    line = "Different numbers of trainings were asked for per trial: ease-1 1, multivae-1 3."
    assert line in list(unevenness([EASE, seeds]))
    assert not [each for each in unevenness([EASE, MULTIVAE]) if "trainings" in each]
