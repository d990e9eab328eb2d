"""The table of metrics and the plot of the curves."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from fits import evaluation
from metric_names import OF_CATALOG, PER_USER

from recsweep.evaluation import Evaluation
from recsweep.report import metric_table, plot_curves


def test_the_table_of_all_metrics_at_four_cutoffs_fits_into_100_columns() -> None:
    lines = metric_table(evaluation(), evaluation()).splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) == 2 + 2 * (len(PER_USER) + len(OF_CATALOG)) + 1


def test_the_table_shows_mean_and_standard_error() -> None:
    frame = pd.DataFrame({"ndcg@10": [0.0, 1.0]}, pd.Index(["a", "b"], name="user"))
    one = Evaluation(frame, {"coverage@10": 0.25}, 0)
    table = metric_table(one, Evaluation(frame * 0.5, {"coverage@10": 0.75}, 0)).splitlines()
    # sample deviation of (0, 1) is √.5; over √2 users: 0.5
    assert [line.split() for line in table if "0." in line] == [
        ["ndcg", "validation", "0.5000", "±", "0.5000"],
        ["test", "0.2500", "±", "0.2500"],
        ["coverage", "validation", "0.2500"],
        ["test", "0.7500"],
    ]


def test_cutoffs_go_by_size_and_not_by_letters() -> None:
    header = metric_table(evaluation(), evaluation()).splitlines()[0]
    assert header.split() == ["@10", "@20", "@50", "@100"]


def test_users_who_are_left_out_are_counted_below_the_table() -> None:
    text = metric_table(evaluation(n_without_target=2), evaluation(n_without_target=1))
    assert "3 held-out users without targets are left out" in text
    text = metric_table(evaluation(n_without_target=1), evaluation())
    assert "1 held-out user without a target is left out" in text
    assert "left out" not in metric_table(evaluation(), evaluation())


def test_the_plot_has_the_metric_that_validation_chose_by(tmp_path: Path) -> None:
    curves = pd.DataFrame({"valid/ndcg@10": [0.1, 0.2], "valid/recall@10": [0.3, 0.4]}, [1, 2])
    with mpl.rc_context({"svg.fonttype": "none"}):  # text stays text
        for objective, other in (("recall@10", "ndcg@10"), ("ndcg@10", "recall@10")):
            plot_curves(curves, 2, objective, tmp_path / "curves.svg")
            text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
            assert f">valid/{objective}<" in text
            assert f">valid/{other}<" not in text
