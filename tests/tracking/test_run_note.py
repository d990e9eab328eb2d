"""Markdown of a run's page."""

from recsweep.tracking.run_note import markdown_commands, markdown_table, run_note


def test_a_table_leaves_out_empty_columns_and_keeps_bars_apart() -> None:
    assert markdown_table(["a", "", "b|c"], [["1", "", "x|y"], ["22", "", ""]]) == (
        "| a&ensp; | b\\|c |\n"
        "| --- | --- |\n"
        "| 1&ensp; | x\\|y |\n"
        "| 22&ensp; |  |"
    )  # fmt: skip


def test_commands_are_listed_with_what_they_are_for() -> None:
    commands = {"continue": "python -m recsweep -m", "odd": "echo `date`"}
    assert markdown_commands(commands) == (
        "- continue: `python -m recsweep -m`\n- odd: `` echo `date` ``"
    )


def test_a_run_tells_its_scores_and_how_to_have_it_again() -> None:
    fold = {
        "mean": {"ndcg@10": 0.25, "ndcg@100": 0.5, "coverage@100": 0.125},
        "standard_error": {"ndcg@10": 0.01, "ndcg@100": 0.0625, "coverage@100": None},
        "n_users": 600,
    }
    metrics = {"best_epoch": 42, "valid": {**fold, "n_users": 500}, "test": fold}
    note = run_note(metrics, "ndcg@100", {"again": "python -m recsweep seed=1"})
    assert note.startswith(
        "**Test ndcg@100 0.5000 ± 0.0625**, validation 0.5000 ± 0.0625 at the best epoch, 42.\n\n"
        "- again: `python -m recsweep seed=1`\n\n"
        "| at 100&ensp; | validation&ensp; | test |\n"
    )
    assert "| coverage@100&ensp; | 0.1250&ensp; | 0.1250 |" in note
    assert "ndcg@10&" not in note
    assert note.endswith("500 validation users, 600 test users")


def test_the_objective_is_the_first_row() -> None:
    mean = {"ndcg@10": 0.25, "ndcg@20": 0.5, "recall@10": 0.75, "coverage@10": 0.125}
    fold = {"mean": mean, "standard_error": {}, "n_users": 6}
    note = run_note({"best_epoch": 1, "valid": fold, "test": fold}, "recall@10", {})
    rows = [line.split("&")[0] for line in note.splitlines() if line.startswith("| ")]
    assert rows[2:] == ["| recall@10", "| ndcg@10", "| coverage@10"]
