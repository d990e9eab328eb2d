"""What the page of a sweep says, from studies that were written trial by trial."""

import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from plans import toy_plan
from studies import COMPLETE, FAIL, PRUNED, SPACE, add, make_study

from recsweep.evaluation import Evaluation
from recsweep.run_files import write_yaml
from recsweep.sweeps.reporting.mlflow_note import (
    NOTE_CHARACTERS,
    NoteContent,
    page_note,
    summary_note,
    view_columns,
    write_note,
)
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.study.final_scores import FinalScores, Looks
from recsweep.sweeps.study.shared_study import SharedStudy
from recsweep.sweeps.study.status import StudyStatus

COMMAND = "python -m recsweep -m model=multivae 'sweep.folder=my sweeps' cache_dir=c"
METRICS = {"ndcg@10": 0.2, "ndcg@100": 0.4, "recall@10": 0.1, "recall@100": 0.3}
NO_LOOKS = Looks(0, ())


@pytest.fixture
def study(tmp_path: Path) -> SharedStudy:
    """A study without trials, that more can be added to."""
    make_study(tmp_path / "vae")
    return SharedStudy(toy_plan(tmp_path / "vae", space=SPACE.plain(), objectives=["ndcg@100"]))


def status(study: SharedStudy) -> StudyStatus:
    return StudyStatus.of(study.study, 4)


def scores(*results: str) -> FinalScores:
    """A winner that was trained twice, on two users."""
    frame = pd.DataFrame({"ndcg@100": [0.25, 0.75]}, index=["u", "v"])
    replicates: list[dict[str, Any]] = [
        {"results": folder, "seed": 42 + n, "valid": {"ndcg@100": 0.5},
         "test": {"ndcg@100": 0.25 + 0.5 * n}}
        for n, folder in enumerate(results)
    ]  # fmt: skip
    evaluation = Evaluation(frame, {}, 0)
    return FinalScores(evaluation, evaluation, replicates, Looks(2, (1,)))


def told(study: SharedStudy, outcome: StudyOutcome, **tags: str) -> NoteContent:
    return NoteContent.of(study, outcome, COMMAND, tags)


def test_a_note_begins_with_the_winner_against_the_default_and_on_test(
    study: SharedStudy, tmp_path: Path
) -> None:
    add(study.study, COMPLETE, [0.4], is_default=True)
    add(study.study, COMPLETE, [0.5], beta=0.125)
    write_yaml(tmp_path / "vae" / "environment.yaml", {"run_id": "abc"})
    (tmp_path / "vae" / "metrics.json").write_text("{}", encoding="utf-8")
    outcome = StudyOutcome(status(study), scores(".", "."), Looks(2, (1,)))
    note = summary_note(outcome, told(study, outcome, data="ml-1m", **{"version.jax": "0.10"}))
    assert note.split("\n\n")[0] == (
        "**Trial 1: validation ndcg@100 0.5000** (default: 0.4000). **Test 0.5000 ± 0.2500**."
    )
    assert "Test was scored 2 times for this study (trial 1)." in note
    assert "Test: mean ± standard error over 2 users; standard deviation over seeds 0.3536" in note
    assert "| 1&ensp; | 1&ensp; | &ensp; | 0.5000&ensp;" in note
    assert "| 2&ensp; | 0&ensp; | default&ensp; | 0.4000&ensp;" in note
    assert "2 of 4 trials done: 2 complete, 0 pruned, 0 failed" in note
    assert "| 43&ensp; | 0.5000&ensp; | 0.7500 |" in note
    assert f"`{COMMAND}`" in note
    places = f"{shlex.quote('sweep.folder=my sweeps')} cache_dir=c`"
    assert f"`python -m recsweep task=best study=vae {places}" in note
    assert f"`python -m recsweep task=reproduce task.run=abc {places}" in note
    assert "| `model.beta`&ensp; | `interval(0.0,1.0)`&ensp; | 0.2 |" in note
    assert note.endswith("data ml-1m, jax 0.10")


def test_a_page_begins_with_the_result_links_and_what_matters(
    study: SharedStudy, tmp_path: Path
) -> None:
    for n in range(6):
        add(study.study, COMPLETE, [n / 8], beta=n / 8)
    outcome = StudyOutcome(status(study), None, NO_LOOKS)
    note = summary_note(outcome, told(study, outcome))
    write_note(tmp_path, note)
    links = {"trials": "#/a", "all plots": "#/b/artifacts/plots/sweep.html?c"}
    headline, shown, matters, table, *_ = page_note(tmp_path, links, "abc").split("\n\n")
    assert (headline, shown) == (note.split("\n\n")[0], "[trials](#/a)")
    assert matters.startswith("Matters: beta 1.00, "), matters
    assert matters.endswith(" (share of the variance).")
    assert table == "### Best trials"
    (tmp_path / "plots").mkdir()
    for name in ("sweep.html", "overview.png"):
        (tmp_path / "plots" / name).touch()
    whole = page_note(tmp_path, links, "abc").split("\n\n")
    assert whole[:5] == [
        headline,
        "[trials](#/a) · [all plots](#/b/artifacts/plots/sweep.html?c)",
        matters,
        "![history and importance](get-artifact?run_uuid=abc&path=plots/overview.png)",
        table,
    ]


def test_a_note_is_never_too_long_and_keeps_the_commands(study: SharedStudy) -> None:
    for n in range(12):
        add(study.study, COMPLETE, [0.5 - n / 100], beta=n / 100, is_default=n == 11)
    outcome = StudyOutcome(status(study), None, NO_LOOKS)
    long = NoteContent.of(study, outcome, f"{COMMAND} a={'x' * 2900}", {})
    note = summary_note(outcome, long)
    assert len(note) <= NOTE_CHARACTERS
    assert f"{'x' * 2900}`" in note
    assert "task=best study=vae" in note
    assert "| 1&ensp; | 0&ensp;" in note
    assert "| 9&ensp; | 8&ensp;" not in note
    assert "| 12&ensp; | 11&ensp; | default&ensp;" in note, "the default is compared with"
    assert "| 9&ensp; | 8&ensp;" in summary_note(outcome, told(study, outcome))


@pytest.mark.parametrize(
    ("state", "value", "expected"),
    [
        (FAIL, None, "**No trial is complete** (1 of 4 done)."),
        (PRUNED, None, "**No trial is complete** (1 of 4 done)."),
        (COMPLETE, [0.4], "**Trial 0: validation ndcg@100 0.4000** (default: not tried)."),
    ],
)
def test_a_note_says_what_there_is(
    study: SharedStudy, state: Any, value: list[float] | None, expected: str
) -> None:
    add(study.study, state, value)
    outcome = StudyOutcome(status(study), None, NO_LOOKS)
    assert summary_note(outcome, told(study, outcome)).split("\n\n")[0] == expected


def test_a_default_that_broke_is_no_score(study: SharedStudy) -> None:
    add(study.study, FAIL, is_default=True)
    add(study.study, COMPLETE, [0.4])
    outcome = StudyOutcome(status(study), None, NO_LOOKS)
    assert "(default: failed)." in summary_note(outcome, told(study, outcome))


def test_a_view_has_what_is_searched_and_the_main_metrics(study: SharedStudy) -> None:
    searched = ["model.beta", "model.dropout_rate", "model.hidden_dims"]
    assert view_columns(SPACE, status(study)) == (
        {key: [] for key in searched}, ["valid_best_ndcg@100", "best_epoch"], set(),
    )  # fmt: skip
    add(study.study, COMPLETE, [0.4], beta=1e-07, metrics=METRICS)
    params, metrics, _ = view_columns(SPACE, status(study))
    assert params == {
        "model.beta": [1e-07], "model.dropout_rate": [0.5], "model.hidden_dims": [[600]],
    }  # fmt: skip
    assert metrics == ["valid_best_ndcg@100", "valid_best_recall@100", "best_epoch"]


def test_of_several_objectives_all_are_columns(tmp_path: Path) -> None:
    objectives = ["ndcg@100", "train_s"]
    make_study(tmp_path / "two", *objectives)
    both = SharedStudy(toy_plan(tmp_path / "two", space=SPACE.plain(), objectives=objectives))
    add(both.study, COMPLETE, [0.4, 10.0], metrics=METRICS)
    assert view_columns(SPACE, status(both))[1] == [
        "valid_best_ndcg@100", "train_s", "valid_best_recall@100", "best_epoch",
    ]  # fmt: skip
    outcome = StudyOutcome(status(both), None, NO_LOOKS)
    note = summary_note(outcome, told(both, outcome))
    assert note.startswith("**1 trials are on the Pareto front of ndcg@100 and train_s.**")


def test_a_note_shows_pruned_trials_and_says_which_one_won(study: SharedStudy) -> None:
    add(study.study, PRUNED, [0.25], metrics={"ndcg@100": 0.5})
    add(study.study, COMPLETE, [0.375])
    outcome = StudyOutcome(status(study), None, NO_LOOKS)
    note = summary_note(outcome, told(study, outcome))
    assert note.startswith("**Trial 1: validation ndcg@100 0.3750**")
    assert "| &ensp; | 0&ensp; | pruned&ensp; | 0.5000&ensp;" in note
    assert "the winner is trial 1: pruned trials were stopped early and have no rank" in note
