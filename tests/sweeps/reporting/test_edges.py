"""Whether a sweep says that its best values lie at an edge, and only then."""

from typing import Any

import optuna
import pytest
from contracts import composed

from recsweep.sweeps.reporting.edges import remarks_on_edges
from recsweep.sweeps.space.branch import Branch
from recsweep.sweeps.space.dimension import dimension
from recsweep.sweeps.space.space import Space
from recsweep.sweeps.study.status import StudyStatus

TWELVE = [0.5 - n / 100 for n in range(12)]
"""Scores of trials, best first."""


def remarks(key: str, sweep: str, values: list[Any], objectives: int = 1) -> list[str]:
    """What is said of a search of Multi-VAE's by one key.

    Args:
        key: The key.
        sweep: What is searched.
        values: The key's value in each trial, best first.
        objectives: How many there are.
    """
    searched = dimension(f"{key}={sweep}")
    config = composed("model=multivae")
    space = Space((Branch({}, dict(config), {key: searched}),), 0)
    study = optuna.create_study(directions=["maximize"] * objectives)
    study.set_user_attr("objectives", ["ndcg@100", "recall@20"][:objectives])
    for score, value in zip(TWELVE, values, strict=False):
        params = {key: searched.nearest(value)}
        if params[key] is None:
            params[key] = searched.edges[0]
        study.add_trial(
            optuna.create_trial(
                values=[score] * objectives,
                params=params,
                distributions={key: searched.distribution},
                user_attrs={"settings": {key: value}},
            )
        )
    return remarks_on_edges(space, StudyStatus.of(study, len(values)))


def test_the_lowest_choice_in_all_of_the_best_trials() -> None:
    values = [50, 50, 50, 50, 50, 100, 200, 400, 100, 200, 400, 100]
    assert remarks("model.latent_dim", "choice(50,100,200,400)", values) == [
        "model.latent_dim is 50, the lowest value of 50,100,200,400, in 5 of the best 5 trials; "
        "a new study should search below it, too"
    ]


@pytest.mark.parametrize(
    ("sweep", "best", "said"),
    [
        ("interval(0.1,0.8)", 0.79, "near 0.8, the highest value of interval(0.1,0.8), in 4 of"),
        ("interval(0.1,0.8)", 0.11, "near 0.1, the lowest value of interval(0.1,0.8), in 4 of"),
        ("range(0.1,0.8,0.1)", 0.7, "0.7, the highest value of range(0.1,0.8,0.1), in 4 of"),
    ],
)
def test_four_of_five_are_enough(sweep: str, best: float, said: str) -> None:
    (remark,) = remarks("model.dropout_rate", sweep, [best] * 3 + [0.4, best] + [0.3] * 7)
    assert remark.startswith(f"model.dropout_rate is {said} the best 5 trials; "), remark
    assert remark.endswith(f"search {'below' if 'lowest' in said else 'above'} it, too")


def test_a_logarithmic_interval_has_its_edges_on_its_scale() -> None:
    sweep = "tag(log,interval(1e-6,1e-2))"
    assert remarks("model.l2", sweep, [1.1e-6] * 12)  # 1 % of the scale from its end
    assert not remarks("model.l2", sweep, [1e-5] * 12)  # .1 % of a linear one, but a quarter here
    assert not remarks("model.l2", sweep, [5e-3] * 12)
    assert remarks("model.l2", sweep, [8e-3] * 12)


def test_the_defaults_may_lie_outside() -> None:
    sweep = "tag(log,interval(1e-6,1e-2))"
    (remark,) = remarks("model.l2", sweep, [0.0, 1e-6, 1e-6, 1e-6, 1e-3] + [1e-4] * 7)
    assert remark.startswith("model.l2 is near 1e-06, the lowest value of"), remark
    values = [None, 50, 50, 50, 50, *[100] * 7]
    assert not remarks("model.latent_dim", "choice(50,100,200)", values)


@pytest.mark.parametrize("sweep", ["interval(0.0,0.8)", "range(0.0,0.8,0.1)"])
def test_an_edge_that_cannot_be_moved_is_no_news(sweep: str) -> None:
    assert not remarks("model.dropout_rate", sweep, [0.0] * 12)  # no rate is below 0


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("interval(0.1,0.8)", [0.8, 0.8, 0.8, 0.4, 0.4] + [0.8] * 7),  # three of five
        ("interval(0.1,0.8)", [0.4, 0.8, 0.8, 0.8, 0.8] + [0.8] * 7),  # not the winner
        ("interval(0.1,0.8)", [0.8] * 9),  # too few trials
        ("interval(0.1,0.8)", [0.8, 0.1, 0.8, 0.1, 0.8] + [0.8] * 7),  # both edges
        ("choice(0.1,0.8)", [0.8] * 12),  # each of two is an edge
        ("choice(0.1,0.4,0.8)", [0.4] * 12),
    ],
)
def test_nothing_is_said_without_a_reason(sweep: str, values: list[Any]) -> None:
    assert not remarks("model.dropout_rate", sweep, values)


def test_values_without_an_order_have_no_edge() -> None:
    sweep = "choice([600],[300],[200])"
    searched = dimension(f"model.hidden_dims={sweep}")
    assert not remarks("model.hidden_dims", sweep, [searched.edges[0]] * 12)


def test_several_objectives_have_no_winner_at_an_edge() -> None:
    assert not remarks("model.dropout_rate", "interval(0.1,0.8)", [0.8] * 12, objectives=2)
