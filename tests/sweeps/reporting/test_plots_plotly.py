from pathlib import Path

import optuna
from studies import COMPLETE, PRUNED, SPACE, add, make_study

from recsweep.sweeps.reporting import plots_plotly
from recsweep.sweeps.reporting.plot_data import COLORS, LegibleStudy
from recsweep.sweeps.study.status import StudyStatus


def of(study: optuna.Study) -> LegibleStudy:
    status = StudyStatus.of(study, 4)
    return LegibleStudy.of(study, status, status.objectives)


def with_curves(folder: Path) -> LegibleStudy:
    study = make_study(folder / "s")
    distributions = {d.name: d.distribution for d in SPACE.branches[0].dimensions.values()}
    for state, curve in (
        (COMPLETE, [0.1, 0.2, 0.3]),
        (PRUNED, [0.1, 0.15]),
        (COMPLETE, [0.2, 0.5, 0.6]),
    ):
        study.add_trial(
            optuna.create_trial(
                state=state, value=curve[-1], params=SPACE.default_params(),
                distributions=distributions, intermediate_values=dict(enumerate(curve, 1)),
            )
        )  # fmt: skip
    return of(study)


def test_a_pruned_curve_ends_with_a_cross_where_it_was_pruned(tmp_path: Path) -> None:
    figure = plots_plotly.curves(with_curves(tmp_path))
    curves = {trace.name: trace for trace in figure.data}
    assert list(curves) == ["complete", "pruned", "best"]  # the best one above the others
    assert curves["pruned"].x == (1, 2)
    assert curves["pruned"].marker.size == (0, 8)
    assert curves["complete"].mode == "lines"
    assert curves["best"].y == (0.2, 0.5, 0.6)
    assert figure.layout.yaxis.title.text == "validation ndcg@100"


def test_a_bar_is_in_the_row_of_its_worker(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3], worker="b:7", began=1e9, wall_s=60.0)
    add(study, PRUNED, worker="a:8", began=1e9 + 5, wall_s=20.0)
    add(study, COMPLETE, [0.4], worker="a:8", began=1e9 + 30, wall_s=10.0)
    complete, pruned = plots_plotly.workers(of(study)).data
    assert (complete.name, complete.y, complete.customdata) == ("complete", ("b:7", "a:8"), (0, 2))
    assert complete.x == (60_000, 10_000)
    assert (pruned.name, pruned.y, pruned.x) == ("pruned", ("a:8",), (20_000,))


def test_hollow_points_are_pruned_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3], train_s=8.0, metrics={"ndcg@100": 0.3})
    add(study, PRUNED, train_s=2.0, metrics={"ndcg@100": 0.1})
    best, pruned = plots_plotly.speed(of(study)).data
    assert (best.name, best.x, best.y) == ("best", (8.0,), (0.3,))
    assert (pruned.name, pruned.marker.symbol) == ("pruned", "circle-open")


def test_lines_are_coloured_from_the_worst_to_the_best(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for beta, value in ((0.1, 0.1), (0.9, 0.9)):
        add(study, COMPLETE, [value], beta=beta)
    figure = plots_plotly.parallel(of(study))
    worst, best = figure.select_traces(selector={"mode": "lines"})
    assert [worst.line.color, best.line.color] == [
        color.replace(",", ", ") for color in plots_plotly.SCALE
    ]
    assert COLORS["best"] == "#c2185b"  # the same as rgb(194,24,91)
