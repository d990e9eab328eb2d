"""The numbers of a comparison: arithmetic on the page."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_runs import read_run, scored_run, write_run

from recsweep.comparison.contenders import Contender, group_runs
from recsweep.comparison.statistics import Statistics, compare
from recsweep.errors import InputError


def statistics(**changes: Any) -> Statistics:
    values: dict[str, Any] = {"metrics": None, "unit": "users", "test": "t", "confidence": 0.95,
                              "n_resamples": 500, "seed": 0}  # fmt: skip
    return Statistics(**{**values, **changes})


def contenders(folder: Path, **models: Any) -> list[Contender]:
    """One run per model with these values."""
    return group_runs([scored_run(folder, model, values) for model, values in models.items()])


def test_means_differences_and_tests_are_the_arithmetic_of_four_users(tmp_path: Path) -> None:
    found = compare(
        contenders(tmp_path, popularity=[0.0, 0.5, 0.5, 0.25], ease=[0.25, 0.5, 1.0, 0.25]),
        statistics(),
    )
    assert [each.name for each in found.contenders] == ["ease", "popularity"]
    scores = found.scores["ndcg@10"]
    assert (scores["ease"].mean, scores["popularity"].mean) == (0.5, 0.3125)
    (pair,) = found.pairs
    assert (pair.a, pair.b) == ("ease", "popularity")
    assert pair.difference.mean == 0.1875  # of .25, 0, .5, 0
    # their sample variance is .171875 / 3, so t = .1875 / sqrt(.171875 / 12) = 1.567 with 3 degrees
    # of freedom; P(|T| > t) has a closed form there
    t = 0.1875 / np.sqrt(0.171875 / 12)
    angle = np.arctan(t / np.sqrt(3))
    p = 1 - 2 / np.pi * (angle + np.sin(angle) * np.cos(angle))
    assert pair.difference.p == pytest.approx(p, abs=1e-12)
    assert pair.adjusted_p == pair.difference.p
    assert (scores["ease"].mark, scores["popularity"].mark) == ("best", "tied")
    assert found.n_units == 4
    low, high = scores["ease"].interval.low, scores["ease"].interval.high
    assert scores["ease"].half_width == (high - low) / 2 > 0


def test_all_pairs_are_corrected_together_and_the_equal_are_marked(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    users = draw.uniform(0.2, 0.8, 300)
    better, equal = users + 0.1, users + 0.1 + draw.normal(0, 0.05, 300)
    found = compare(contenders(tmp_path, item_knn=users, ease=better, ials=equal), statistics())
    by_p = sorted(found.pairs, key=lambda pair: pair.difference.p)
    steps = [pair.difference.p * n for pair, n in zip(by_p, (3, 2, 1), strict=True)]
    assert [pair.adjusted_p for pair in by_p] == pytest.approx(np.maximum.accumulate(steps))
    marks = {name: score.mark for name, score in found.scores["ndcg@10"].items()}
    best = max(("ease", "ials"), key=lambda name: found.scores["ndcg@10"][name].mean)
    assert marks == {"item_knn": "", "ease": "tied", "ials": "tied", best: "best"}


def test_a_model_that_only_the_uncorrected_test_tells_apart_is_tied(tmp_path: Path) -> None:
    best = np.array([0.5, 0.6, 0.7, 0.8, 0.5, 0.6, 0.7, 0.8])
    near = best - [0.1, 0.1, 0, 0.1, 0.1, 0, 0.1, -0.1]  # t = 1.871, p = .104 with 7 degrees
    far = best - [0.1, 0, 0.1, 0.1, 0.1, 0.1, -0.1, 0.1]  # t = 2.376, p = .049; alone it would do
    found = compare(contenders(tmp_path, ease=best, ials=near, item_knn=far), statistics())
    p = {(pair.a, pair.b): (pair.difference.p, pair.adjusted_p) for pair in found.pairs}
    assert p["ease", "item_knn"] == pytest.approx((0.04917, 3 * 0.04917), abs=1e-4)
    assert p["ease", "ials"] == pytest.approx((0.10355, 2 * 0.10355), abs=1e-4)
    marks = {name: score.mark for name, score in found.scores["ndcg@10"].items()}
    assert marks == {"ease": "best", "ials": "tied", "item_knn": "tied"}


def test_seeds_are_averaged_first_and_their_spread_is_kept(tmp_path: Path) -> None:
    values = {1: [0.25, 0.5], 2: [0.75, 0.5]}
    runs = [scored_run(tmp_path, "ease", each, seed=seed) for seed, each in values.items()]
    found = compare(
        group_runs([*runs, scored_run(tmp_path, "popularity", [0.0, 0.25])]), statistics()
    )
    ease, popularity = (found.scores["ndcg@10"][name] for name in ("ease", "popularity"))
    assert list(ease.by_replicate) == [0.375, 0.625]
    assert ease.deviation == pytest.approx(np.sqrt(2 * 0.125**2))
    assert ease.interval == (0.5, 0.5), "both users have .5 over the seeds"
    assert np.isnan(popularity.deviation)


def test_replicates_can_be_the_sample(tmp_path: Path) -> None:
    values = {"ease": [0.6, 0.5, 0.7], "popularity": [0.3, 0.4, 0.35]}
    runs = [
        scored_run(tmp_path, model, [value - 0.1, value + 0.1], seed=seed)
        for model, each in values.items()
        for seed, value in enumerate(each)
    ]
    found = compare(group_runs(runs), statistics(unit="replicates"))
    (pair,) = found.pairs
    differences = np.array([0.3, 0.1, 0.35])
    assert pair.difference.mean == pytest.approx(differences.mean())
    t = differences.mean() / (differences.std(ddof=1) / np.sqrt(3))
    p = 1 - t / np.sqrt(2 + t**2)  # of Student's distribution with 2 degrees of freedom
    assert pair.difference.p == pytest.approx(p)
    assert found.n_units == 3


def test_a_sample_of_replicates_needs_two_of_each_with_the_same_seeds(tmp_path: Path) -> None:
    runs = [scored_run(tmp_path, "ease", [0.5, 0.5], seed=seed) for seed in (1, 2)]
    for seeds, shown in (((1,), "1"), ((1, 3), "1, 3")):
        others = [scored_run(tmp_path, "popularity", [0.5, 0.5], seed=seed) for seed in seeds]
        expected = f"but ease has 1, 2 and popularity has {shown};"
        with pytest.raises(InputError, match=expected):
            compare(group_runs([*runs, *others]), statistics(unit="replicates"))
    others = [scored_run(tmp_path, name, [0.5, 0.5], seed=1) for name in ("ease", "slim")]
    with pytest.raises(InputError, match="but ease has 1 and slim has 1;"):
        compare(group_runs(others), statistics(unit="replicates"))


@pytest.mark.parametrize("mean", [0.45, 0.75], ids=["worse", "better"])
def test_one_training_of_a_deterministic_model_stands_for_every_seed(
    tmp_path: Path, mean: float
) -> None:
    vae = [0.6, 0.5, 0.7]
    runs = [scored_run(tmp_path, "multivae", [v - 0.1, v + 0.1], seed=s) for s, v in enumerate(vae)]
    ease = scored_run(tmp_path, "ease", [mean - 0.1, mean + 0.1], seed=0)
    config = {**ease.config, "model": {"_target_": "recsweep.models.ease.EASE"}}
    with pytest.raises(InputError, match=r"ease has 0[; ]"):
        compare(group_runs([*runs, ease]), statistics(unit="replicates"))
    found = compare(
        group_runs([*runs, replace(ease, config=config)]), statistics(unit="replicates")
    )
    (pair,) = found.pairs
    differences = np.abs(np.array(vae) - mean)
    assert pair.difference.mean == pytest.approx(differences.mean())
    t = differences.mean() / (differences.std(ddof=1) / np.sqrt(3))
    assert pair.difference.p == pytest.approx(1 - t / np.sqrt(2 + t**2))
    assert found.n_units == 3


def test_deterministic_models_are_compared_over_their_splits(tmp_path: Path) -> None:
    values = {"ease.EASE": [0.6, 0.5, 0.7], "popularity.Popularity": [0.3, 0.4, 0.35]}
    runs = []
    for model, each in values.items():
        for split, value in zip("abc", each, strict=True):
            run = scored_run(tmp_path, model[:4], [value - 0.1, value + 0.1], split=64 * split)
            config = {**run.config, "model": {"_target_": f"recsweep.models.{model}"}}
            runs.append(replace(run, config=config))
    found = compare(group_runs(runs), statistics(unit="replicates"))
    (pair,) = found.pairs
    assert pair.difference.mean == pytest.approx(0.25)  # of .3, .1 and .35
    assert found.n_units == 3


def test_the_metrics_of_papers_are_the_default(tmp_path: Path) -> None:
    def chosen(*names: str) -> list[str]:
        folder, values = tmp_path / "-".join(names), {name: [0.5, 0.25] for name in names}
        runs = [
            read_run(write_run(folder / model, model, values), model) for model in ("ease", "ials")
        ]
        return compare(group_runs(runs), statistics()).metrics

    assert chosen("ndcg@10", "ndcg@100", "recall@20", "recall@50", "mrr@10") == [
        "ndcg@100", "recall@20", "recall@50",
    ]  # fmt: skip
    assert chosen("recall@5", "ndcg@5") == ["ndcg@5"]
    assert chosen("mrr@5", "mrr@10") == ["mrr@10"]


def test_a_metric_that_a_run_lacks_is_refused(tmp_path: Path) -> None:
    runs = [scored_run(tmp_path, model, [0.5, 0.25]) for model in ("ease", "ials")]
    with pytest.raises(InputError, match=r"among .* ndcg@10, but is ndgc@10; did you mean ndcg@10"):
        compare(group_runs(runs), statistics(metrics=["ndgc@10"]))
    other = read_run(write_run(tmp_path / "x", "popularity", {"mrr@10": [0.5, 0.5]}), "x")
    with pytest.raises(InputError, match="must have a metric in common"):
        compare(group_runs([*runs, other]), statistics())


def test_a_single_contender_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two"):
        compare([], statistics())
    with pytest.raises(InputError, match="at least two"):
        compare(contenders(tmp_path, ease=[0.5, 0.25]), statistics())


def test_copies_of_one_value_are_no_sample(tmp_path: Path) -> None:
    runs = [
        scored_run(tmp_path, model, [value, 0.5], seed=seed)
        for model, value in (("ease", 0.1), ("item_knn", 0.2))
        for seed in (1, 2)
    ]
    with pytest.raises(InputError, match="but item_knn and ease give the same for every seed"):
        compare(group_runs(runs), statistics(unit="replicates"))


# --- the objective --------------------------------------------------------------------------------

GRID = ("ndcg@10", "ndcg@20", "recall@10", "recall@20")


def tuned_for(folder: Path, model: str, objective: str, *names: str, value: float = 0.5) -> Any:
    """A run of two users, the first with `value` in all metrics but recall@10: the rest to 1."""
    values = {n: [1 - value if n == "recall@10" else value, 0.25] for n in names or GRID}
    place = folder / f"{model}-{objective}"
    return read_run(write_run(place, model, values, objective=objective), place.name)


def test_what_the_models_were_tuned_for_comes_first_and_ranks_them(tmp_path: Path) -> None:
    runs = [tuned_for(tmp_path, "ease", "recall@10", value=0.25),
            tuned_for(tmp_path, "item_knn", "recall@10", value=0.75)]  # fmt: skip
    found = compare(group_runs(runs), statistics())
    assert found.metrics == ["recall@10", "ndcg@20", "recall@20"]
    assert [each.name for each in found.contenders] == ["ease", "item_knn"]  # .5 and .25
    marks = {metric: found.scores[metric]["ease"].mark for metric in found.metrics}
    assert marks["recall@10"] == "best"
    assert marks["ndcg@20"] != "best"
    assert [pair.metric for pair in found.pairs] == found.metrics, "a test in each"


def test_an_objective_that_is_usual_is_not_said_twice(tmp_path: Path) -> None:
    runs = [tuned_for(tmp_path, model, "recall@20") for model in ("ease", "item_knn")]
    assert compare(group_runs(runs), statistics()).metrics == ["recall@20", "ndcg@20"]


def test_of_different_objectives_all_come_first_in_the_order_of_the_models(tmp_path: Path) -> None:
    objectives = {"item_knn": "recall@10", "ease": "ndcg@10", "ials": "recall@10"}
    runs = [tuned_for(tmp_path, model, objective) for model, objective in objectives.items()]
    assert compare(group_runs(runs), statistics()).metrics == [
        "recall@10", "ndcg@10", "ndcg@20", "recall@20",
    ]  # fmt: skip


def test_an_objective_that_a_run_lacks_is_left_out_and_task_metrics_win(
    tmp_path: Path,
) -> None:
    runs = [tuned_for(tmp_path, "ease", "recall@10"),
            tuned_for(tmp_path, "item_knn", "ndcg@20", "ndcg@20", "recall@20")]  # fmt: skip
    assert compare(group_runs(runs), statistics()).metrics == ["ndcg@20", "recall@20"]
    assert compare(group_runs(runs), statistics(metrics=["recall@20"])).metrics == ["recall@20"]
