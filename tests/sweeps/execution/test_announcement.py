"""What a sweep says before its first trial."""

from collections.abc import Callable
from typing import Any

from recsweep.build import build, validate
from recsweep.sweeps.execution.announcement import announce
from recsweep.sweeps.execution.setup import SweepSettings
from recsweep.sweeps.space.space import make_space

Config = Callable[..., dict[str, Any]]


def announced(
    config: Config, *swept: str, sampler: str = "tpe", n_done: int = 0, more: str = "seed=42"
) -> list[str]:
    usual = ("model=ease", "data=synthetic", f"sampler={sampler}")
    typed = [line.partition("=")[0] for line in swept]
    found = config(*usual, "sweep.n_workers=2", more)
    space = make_space(lambda lines: config(*usual, *lines), [], list(swept))
    settings = validate(SweepSettings, found["sweep"], "sweep")
    return announce(
        space, settings, ["ndcg@100"], build(found["sampler"], "sampler"), n_done, typed
    )


def test_each_dimension_has_a_line_with_its_range_and_where_that_is_from(config: Config) -> None:
    assert announced(config, "model.l2=interval(1,9)") == [
        "search    model.dropout_rate  interval(0.0,0.8)  from search: in YAML",
        "          model.l2            interval(1.0,9.0)  from the command line",
        "budget    50 trials on 2 workers for ndcg@100 on validation users",
    ]


def test_a_study_that_continues_says_how_far_it_is(config: Config) -> None:
    assert announced(config, n_done=7)[-1] == (
        "budget    50 trials (7 done before) on 2 workers for ndcg@100 on validation users"
    )


def test_what_a_trial_is_repeated_over_is_part_of_the_budget(config: Config) -> None:
    for more, of_each in (("sweep.folds=5", "5 folds"), ("sweep.seeds_per_trial=3", "3 seeds")):
        assert announced(config, more=more)[-1] == (
            f"budget    50 trials of {of_each} on 2 workers for ndcg@100 on validation users"
        )


def test_a_grid_that_is_smaller_than_the_budget_says_so(config: Config) -> None:
    lines = ("model.l2=1,2,3", "model.dropout_rate=0.1,0.2")
    assert announced(config, *lines, sampler="grid")[-2:] == [
        "budget    6 trials on 2 workers for ndcg@100 on validation users",
        "grid      6 points, so that the sweep ends before its 50 trials",
    ]
    assert announced(config, *lines)[-1].startswith("budget")
