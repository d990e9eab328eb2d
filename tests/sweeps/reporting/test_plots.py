import re
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from plans import toy_plan
from studies import COMPLETE, FAIL, IDENTITY, PRUNED, RUNNING, add, final_scores, make_study

from recsweep.sweeps.execution.worker import Worker
from recsweep.sweeps.reporting.plots import write_plots
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study.status import StudyStatus

PNG = b"\x89PNG\r\n\x1a\n"
EVERY = {"history", "importance", "slices", "curves", "parallel", "speed", "workers"}
SEVERAL = {"pareto", "parallel", "speed", "workers"}


def plotted(
    study: optuna.Study, folder: Path, test: FinalScores | None = None
) -> tuple[set[str], str]:
    """Stems of the images, and the page without Plotly's script."""
    status = StudyStatus.of(study, len(study.trials))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = StudyOutcome(status, test, Looks(1, (0,)))
        files = write_plots(study, outcome, folder / "plots")
    page, *images = files
    assert all(image.read_bytes().startswith(PNG) for image in images)
    assert sorted(folder.joinpath("plots").iterdir()) == sorted(files)
    assert page.stat().st_size < 6_000_000
    text = page.read_text(encoding="utf-8")
    assert 'src="http' not in text
    script = max(re.findall(r"<script[^>]*>.*?</script>", text, flags=re.DOTALL), key=len)
    rest = text.replace(script, "")
    assert "http" not in rest
    return {image.stem for image in images}, rest


def n_figures(page: str) -> int:
    return page.count("Plotly.newPlot(")


def missing(page: str) -> list[str]:
    return re.findall(r"This plot is missing: ([^<]*)\.<", page)


def noted(worker: str = "here:1", began: float = 1e9, value: float = 0.4) -> dict[str, Any]:
    return {"worker": worker, "began": began, "wall_s": 10.0, "train_s": 9.0,
            "metrics": {"ndcg@100": value}}  # fmt: skip


def test_a_sweep_that_ran_has_every_plot_and_a_page_with_all_of_them(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path / "toy", n_trials=6)
    assert Worker(plan.plain())(None)["error"] is None
    study = SharedStudy(plan).study
    noted = {"objectives": plan.objectives, "space": plan.space, "identity": IDENTITY}
    for name, value in noted.items():
        study.set_user_attr(name, value)  # as the sweep's parent does
    images, page = plotted(study, tmp_path)
    assert images == {*EVERY, "overview"}
    assert n_figures(page) == len(EVERY)
    assert not missing(page)
    split = IDENTITY["fingerprint"]["split"][:12]
    assert f"data set synthetic · split {split} · {date.today().isoformat()}" in page
    assert "validation ndcg@10" in page
    assert "Objective Value" not in page
    assert "model.quality" not in page.partition("</pre>")[2]


def test_the_page_has_the_winners_scores_on_test(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for value in (0.3, 0.5):
        add(study, COMPLETE, [value], beta=value, **noted(value=value))
    _, page = plotted(study, tmp_path, final_scores(0.25, 0.75))
    assert "winner: trial 1, trained again with seeds 0, 1" in page
    assert "test ndcg@100 by seed: 0.2500 0.7500; standard deviation 0.3536" in page
    assert "test was scored once for this study (trial 0)" in page


def test_states_of_all_kinds_are_drawn(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3], beta=0.1, is_default=True, **noted(value=0.3))
    add(study, PRUNED, beta=0.9, reason="pruned at epoch 1", **noted("here:2", 1e9 + 1))
    add(study, FAIL, beta=0.3, **noted("here:2", 1e9 + 20))
    add(study, COMPLETE, [0.5], beta=0.4, **noted("there:1", 1e9 + 30, 0.5))
    add(study, RUNNING, beta=0.5, **noted("there:1", 1e9 + 50))
    _, page = plotted(study, tmp_path)
    assert missing(page) == ["no trial has reported an epoch"]
    for text in ("here:1", "here:2", "there:1", '"pruned"', '"best"', '"failed"', '"running"'):
        assert text.replace('"', "") in page


@pytest.mark.extended
def test_single_epochs_are_no_curves(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for value in (0.25, 0.5):
        add(study, COMPLETE, [value], beta=value, reported={1: value}, **noted())
    images, page = plotted(study, tmp_path)
    assert "curves" not in images
    assert missing(page) == ["no trial has more than one epoch"]


def test_nothing_to_draw_is_said_in_sentences(tmp_path: Path) -> None:
    images, page = plotted(make_study(tmp_path / "empty"), tmp_path)
    assert images == set()
    assert len(missing(page)) == len(EVERY)
    assert "no trial has begun" in missing(page)


def test_of_failed_trials_the_time_line_is_left(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for _ in range(3):
        add(study, FAIL, worker="here:1", began=1e9, wall_s=10.0)
    images, page = plotted(study, tmp_path)
    assert images == {"workers"}
    assert "no trial is complete" in missing(page)


def test_a_single_trial_has_no_importance(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    add(study, COMPLETE, [0.3], **noted())
    images, page = plotted(study, tmp_path)
    assert images == {"speed", "workers"}
    needs = "it needs two complete trials, and there is one"
    assert missing(page).count(needs) == 4, "of history, importance, slices and coordinates"


@pytest.mark.extended
def test_equal_values_have_no_importance(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for beta in (0.1, 0.2, 0.3):
        add(study, COMPLETE, [0.3], beta=beta, **noted())
    assert "all complete trials have the same value" in missing(plotted(study, tmp_path)[1])


@pytest.mark.extended
def test_several_objectives_get_a_front_and_the_plots_of_each(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", "ndcg@100", "train_s")
    for beta in (0.1, 0.2, 0.4):
        add(study, COMPLETE, [beta, 10 * beta**2], beta=beta, **noted(value=beta))
    images, page = plotted(study, tmp_path)
    of_each = {f"{plot}_{name}" for plot in ("history", "importance", "slices")
               for name in ("ndcg_at_100", "train_s")}  # fmt: skip
    assert images == SEVERAL | of_each
    assert n_figures(page) == len(images)
    assert "training time (s)" in page


@pytest.mark.extended
def test_more_objectives_than_axes_have_no_front(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", "ndcg@100", "ndcg@10", "train_s", "wall_s")
    for beta in (0.1, 0.2):
        add(study, COMPLETE, [beta, beta, 1.0, 2.0], beta=beta, **noted())
    assert "there are more than three objectives" in missing(plotted(study, tmp_path)[1])


def test_hyperparameters_of_one_branch_are_drawn_and_left_out_of_importance(
    tmp_path: Path,
) -> None:
    study = make_study(tmp_path / "s")
    for i in range(6):
        name = "adam" if i % 2 else "sgd"
        rate = f"optimizer.learning_rate[optimizer={name}]"
        study.add_trial(
            optuna.create_trial(
                values=[0.1 * i],
                params={"optimizer": name, rate: 10.0 ** -(i + 1)},
                distributions={"optimizer": CategoricalDistribution(["adam", "sgd"]),
                               rate: FloatDistribution(1e-7, 1.0, log=True)},
                user_attrs=noted(),
            )
        )  # fmt: skip
    images, page = plotted(study, tmp_path)
    assert {"importance", "slices", "parallel"} <= images
    assert "learning_rate[optimizer=adam]" in page
    assert "only some trials have them: learning_rate[optimizer=sgd]" in page


def test_a_space_of_one_point_has_nothing_to_compare(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    for value in (0.1, 0.2):
        only = {"model.beta": CategoricalDistribution([0.2])}
        study.add_trial(
            optuna.create_trial(value=value, params={"model.beta": 0.2}, distributions=only)
        )
    reasons = missing(plotted(study, tmp_path)[1])
    assert reasons.count("no hyperparameter has more than one value") == 3  # also parallel


def test_a_plot_that_breaks_costs_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: Any) -> None:
        raise ZeroDivisionError("in <Optuna>")

    monkeypatch.setattr("recsweep.sweeps.reporting.plots_matplotlib.slices", breaks)
    study = make_study(tmp_path / "s")
    for value in (0.25, 0.5):
        add(study, COMPLETE, [value], beta=value, **noted())
    images, page = plotted(study, tmp_path)
    assert "slices" not in images
    assert "history" in images
    assert "ZeroDivisionError: in &lt;Optuna&gt;" in page


def test_the_default_outside_of_the_space_is_said_to_be(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s")
    space = {"model.l2": FloatDistribution(1e-8, 1e-3, log=True)}
    for number, (shown, own) in enumerate([(1e-8, 0.0), (1e-4, 1e-4)]):
        attrs = {"settings": {"model.l2": own}, "is_default": number == 0, **noted()}
        study.add_trial(
            optuna.create_trial(
                value=0.1 * number, params={"model.l2": shown}, distributions=space,
                user_attrs=attrs,
            )
        )  # fmt: skip
    assert "is outside of the space in l2 (0)" in plotted(study, tmp_path)[1]
