"""task=compare: what is named is found, compared, printed and written."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import assert_refused, run_command
from scored_runs import write_run, write_study
from small_runs import SMALL_DATA, metrics
from studies import COMPLETE, PRUNED, add, make_study

from recsweep.app import run
from recsweep.errors import InputError

WRITTEN = {"comparison.csv", "comparison.html", "comparison.md", "comparison.tex", "pairs.csv"}


@pytest.fixture
def compare(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compares in `tmp_path`, where the sweeps are, without a store; gives the rows of the CSV."""

    def compared(*overrides: str) -> list[dict[str, str]]:
        monkeypatch.chdir(tmp_path)
        given = ["task=compare", "task.n_resamples=200", *overrides]
        run(config(*given, "tracking=off"), tmp_path / "hydra", given)
        with (tmp_path / "comparison" / "comparison.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return compared


def test_studies_and_results_folders_are_compared(
    compare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "sweeps" / "tuned", "multivae", [[0.5, 0.75], [0.25, 0.75]])
    write_run(tmp_path / "ease" / "results", "ease", {"ndcg@10": [0.5, 0.25]})
    rows = compare("task.of=[tuned,ease/results]")
    assert [(row["model"], row["seed"], row["value"]) for row in rows] == [
        ("multivae", "42", "0.625"), ("multivae", "43", "0.5"), ("ease", "42", "0.375"),
    ]  # fmt: skip
    assert {file.name for file in (tmp_path / "comparison").iterdir()} == WRITTEN
    said = capsys.readouterr().out
    assert "multivae         0.5625 ± " in said
    assert f"page      {tmp_path}/comparison/comparison.html" in said


def test_a_study_elsewhere_is_given_by_its_folder(compare: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_study(tmp_path / "elsewhere" / name, "ease", [[0.5, 0.75]])
    rows = compare("task.of=[elsewhere/one,elsewhere/two]")
    assert [row["model"] for row in rows] == ["ease one", "ease two"]
    shutil.rmtree(tmp_path / "comparison")
    assert compare("task.of=[one,two]", "sweep.folder=elsewhere") == rows


def test_a_study_that_goes_on_says_how_far_it_is(compare: Any, tmp_path: Path) -> None:
    study = make_study(tmp_path / "sweeps" / "begun", n_trials=9)
    add(study, COMPLETE, [0.5])
    add(study, PRUNED, [0.25])
    expected = "study begun is not finished: 2 of 9 trials done: 1 complete, 1 pruned, 0 failed;"
    with pytest.raises(InputError, match=expected):
        compare("task.of=[begun,begun]")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "task.of must name what is to be compared, but is empty"),
        (["task.of=[tuned]"], "at least two models or configurations, but found only multivae"),
        (["task.of=[tuned,tuned]"], "at least two models or configurations, but found only"),
        (["task.of=[tune,ease]"], "but tracking is off; give results folders"),
        (["task.tag=a:b"], "task.tag must be found among tracked runs, but tracking is off"),
        (
            ["task.of=[tuned]", "task.tag=a:b"],
            "task.of, task.filter and task.tag exclude each other",
        ),
        (["task.of=[tuned,ease]", "task.metrics=ndcg@1"], "did you mean ndcg@10?"),
        (["task.of=[tuned,ease]", "task.unit=replicates"], "at least two replicates of each"),
        (["task.of=[tuned,ease]", "task.output=sweeps"], "task.output must be a new or empty"),
        (["task.of=[tuned,other]"], "must have the same split.fingerprint"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_writes_nothing(
    compare: Any, tmp_path: Path, overrides: list[str], expected: str
) -> None:
    write_study(tmp_path / "sweeps" / "tuned", "multivae", [[0.5, 0.75]])
    write_run(tmp_path / "ease", "ease", {"ndcg@10": [0.5, 0.25]})
    write_run(tmp_path / "other", "ials", {"ndcg@10": [0.5, 0.25]}, split="6" * 64)
    with pytest.raises(InputError) as caught:
        compare(*overrides)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"sweeps", "ease", "other"}


def test_a_wrong_name_in_an_empty_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    ended = run_command(folder, "task=compare task.of=[a,b]")
    assert_refused(folder, ended, "task.of must name studies, tracked runs or results folders")


def test_the_study_that_was_meant_is_named(tmp_path: Path) -> None:
    write_study(tmp_path / "here" / "sweeps" / "multivae-liang-1", "multivae", [[0.5, 0.75]])
    ended = run_command(tmp_path / "here", "task=compare task.of=[multivae-liang,x]")
    assert ended.err.endswith("but multivae-liang is none; did you mean multivae-liang-1?\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_real_runs_are_compared_by_folder_name_filter_and_tag(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    small = " ".join(SMALL_DATA)
    for number, model in enumerate(("popularity", "ease", "ease seed=7")):
        place = f"hydra.run.dir=run-{number}"
        ended = run_command(folder, f"model={model} {place} {small}")
        assert ended.code == 0, ended.err
    outputs = []
    for number, of in enumerate((
        "task.of=[run-0/results,run-1/results,run-2/results]",
        "task.of=[popularity-synthetic,ease-synthetic]",
        """'task.filter="tags.data = \\"synthetic\\""'""",
        "task.tag=data:synthetic",
    )):  # fmt: skip
        ended = run_command(folder, f"task=compare {of} task.output=c{number} {small}")
        assert ended.code == 0, ended.err
        assert ended.err == ""
        assert {file.name for file in (folder / f"c{number}").iterdir()} == WRITTEN | {"groups.csv"}
        outputs.append((folder / f"c{number}" / "pairs.csv").read_bytes())
    assert len(set(outputs)) == 1, "the same runs, however they are named"
    with (folder / "c0" / "comparison.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "ndcg@10"]
    expected = {
        key: metrics(folder / f"run-{number}")["test"]["mean"]["ndcg@10"]
        for number, key in enumerate((("popularity", "42"), ("ease", "42"), ("ease", "7")))
    }
    found = {(row["model"], row["seed"]): float(row["value"]) for row in rows}
    assert found == pytest.approx(expected, abs=1e-12)
    text = (folder / "c1" / "comparison.md").read_text("utf-8")
    assert "git.commit" in text
