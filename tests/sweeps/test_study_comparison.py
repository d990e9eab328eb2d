"""Several studies of one command end in one comparison, and in how evenly they were tuned."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from commands import Ended, run_command
from plans import toy_config, toy_space
from small_runs import SMALL_DATA

from recsweep.command_line import compose_config
from recsweep.comparison.statistics import Statistics
from recsweep.run_files import newest_comparison
from recsweep.sweeps.execution.coordinator import SweepCoordinator
from recsweep.sweeps.execution.setup import StudyRequest
from recsweep.sweeps.reporting.result import StudyOutcome
from recsweep.sweeps.study_comparison import compare_studies, tuning

pytestmark = pytest.mark.usefixtures("undrawn")

Run = tuple[SweepCoordinator, StudyOutcome]
Made = Callable[..., Run]


def statistics() -> Statistics:
    task = compose_config("task=compare")["task"]
    return Statistics(**{name: task[name] for name in Statistics.__dataclass_fields__})


@pytest.fixture
def swept(config: Callable[..., dict[str, Any]], tmp_path: Path) -> Made:  # noqa: ARG001
    """A finished sweep of the toy at one quality, at random."""

    def launch(task: Any, n: int, folder: str) -> list[dict[str, Any]]:  # noqa: ARG001
        return [task(None) for _ in range(n)]

    def make(name: str, *overrides: str, quality: float = 0.9) -> Run:
        usual = (f"sweep.folder={tmp_path}/sweeps", "sampler=random", "pruner=none")
        small = ("sweep.n_trials=2", "sweep.final_seeds=2")
        toy = toy_config(tmp_path, *usual, *small, *overrides, quality=quality)
        space = toy_space(toy, "model.quality=interval(0.05,0.1)")
        parent = SweepCoordinator(
            StudyRequest(name, toy, [name], lambda: space, launch, "the command").check()
        )
        return parent, parent.run()

    return make


def compared(*runs: Run) -> list[Any]:
    parents, outcomes = zip(*runs, strict=True)
    return compare_studies(parents, outcomes, statistics())


@pytest.mark.extended
def test_winners_on_the_same_split_are_compared(swept: Made, tmp_path: Path) -> None:
    good, bad = swept("good", quality=0.9), swept("bad", quality=0.1)
    (written,) = compared(good, bad)
    assert written.studies == ["good", "bad"]
    assert written.folder.parent == tmp_path / "sweeps"
    table = pd.read_csv(written.folder / "comparison.csv")
    means = table[table.metric == "ndcg@10"].drop_duplicates("model")["mean"]
    scores = [outcome.test.test.means["ndcg@10"] for _, outcome in (good, bad) if outcome.test]
    assert list(means) == pytest.approx(scores)  # the best comes first
    assert scores[0] > scores[1]
    page = (written.folder / "comparison.html").read_text()
    assert "Fairness of the tuning" in page
    before = {file.name: file.read_bytes() for file in written.folder.iterdir()}
    (again,) = compared(good, bad)
    assert {f.name: f.read_bytes() for f in again.folder.iterdir()}.keys() == before.keys()


def test_winners_with_a_single_test_user_are_not_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsweep.sweeps import study_comparison

    monkeypatch.setattr(study_comparison, "_has_files", lambda *_: True)
    evaluation = SimpleNamespace(per_user=pd.DataFrame({"ndcg@10": [0.5]}))
    run: Any = (
        SimpleNamespace(
            spec=SimpleNamespace(identity={"fingerprint": "f"}, objectives=["ndcg@10"], name="a")
        ),
        SimpleNamespace(test=SimpleNamespace(test=evaluation)),
    )
    assert compared(run, run) == []
    line = "a comparison needs two test users, but there is 1; hold out more users"
    assert capsys.readouterr().err == f"warning: a and others are not compared: {line}\n"


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_comparison_is_among_the_artifacts_of_each_sweep(swept: Made, tmp_path: Path) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    pairs = [swept(name, "tracking=mlflow", f"tracking.uri={uri}") for name in ("one", "other")]
    (written,) = compared(*pairs)
    client = mlflow.MlflowClient(uri)
    for parent, _ in pairs:
        listed = client.list_artifacts(str(parent.spec.tracker.run_id), "comparison")
        names = {Path(each.path).name for each in listed}
        assert names == {file.name for file in written.folder.iterdir()}
    assert newest_comparison(tmp_path / "sweeps" / "one") == written.folder


@pytest.mark.extended
def test_other_splits_are_not_compared(swept: Made) -> None:
    assert compared(swept("one"), swept("other", "split.seed=1")) == []


@pytest.mark.extended
def test_a_study_without_scores_is_left_out(swept: Made) -> None:
    assert compared(swept("one"), swept("other", "sweep.final_seeds=0")) == []


@pytest.mark.extended
def test_what_a_study_spent_is_told(swept: Made) -> None:
    found = tuning(*swept("toy"))
    assert (found.n_asked, found.n_complete, found.n_pruned, found.n_failed) == (2, 2, 0, 0)
    assert found.default == found.values[0]
    assert found.tuned == max(found.values)
    assert found.cpu_s is not None
    assert found.cpu_s > 0
    assert found.peak_bytes is not None
    assert found.peak_bytes > 1 << 26  # Python with NumPy and a backend
    assert found.space == {"model.quality": "interval(0.05,0.1)"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    folder = tmp_path_factory.mktemp("both") / "here"
    line = f"-m hydra/launcher=basic tracking=off {' '.join(SMALL_DATA)} sweep.final_seeds=2"
    return folder, run_command(folder, f"{line} model=popularity,ease sweep.n_trials=3")


def test_a_command_with_several_models_prints_the_comparison(both: tuple[Path, Ended]) -> None:
    folder, ended = both
    assert ended.code == 0, ended.err
    assert "paired t-test, two-sided, p adjusted by Holm over the 1 pair" in ended.out
    assert "searches nothing: its settings are the configuration's own" in ended.out
    (place,) = (folder / "sweeps").glob("comparison-*")
    assert f"page      {place / 'comparison.html'}" in ended.out
    names = {f"comparison.{kind}" for kind in ("md", "tex", "csv", "html")}
    names |= {"pairs.csv", "groups.csv", "studies.yaml"}
    assert {file.name for file in place.iterdir()} == names


def test_task_compare_of_the_studies_says_the_same(both: tuple[Path, Ended]) -> None:
    folder, _ = both
    names = sorted(path.name for path in (folder / "sweeps").glob("[ep]*-synthetic-*"))
    ended = run_command(folder, f"task=compare task.of=[{','.join(names)}] tracking=off")
    assert ended.code == 0, ended.err
    (place,) = (folder / "sweeps").glob("comparison-*")
    for name in ("pairs.csv", "comparison.tex"):
        assert (folder / "comparison" / name).read_text() == (place / name).read_text()
    shutil.rmtree(folder / "comparison")


@pytest.mark.extended
def test_what_a_sweep_was_asked_to_reach_is_compared_first(tmp_path: Path) -> None:
    data = " ".join(each for each in SMALL_DATA if not each.startswith("k="))
    ended = run_command(
        tmp_path / "here",
        f"-m hydra/launcher=basic tracking=off {data} model=ease,item_knn,popularity "
        "objective=recall@10 k=[10,20] metrics=[recall,ndcg] sweep.n_trials=1 sweep.final_seeds=1",
    )
    assert ended.code == 0, ended.err
    head = next(line for line in ended.out.splitlines() if line.lstrip().startswith("recall@"))
    assert head.split() == ["recall@10", "ndcg@20", "recall@20"]
    (place,) = (tmp_path / "here" / "sweeps").glob("comparison-*")
    scores = pd.read_csv(place / "comparison.csv")
    of_first = scores[scores.metric == "recall@10"]
    assert sorted(of_first["mark"].fillna("")).count("best") == 1
    assert of_first["mean"].is_monotonic_decreasing, "models are in the order of the objective"
    pairs = pd.read_csv(place / "pairs.csv")
    assert list(pairs.metric) == [name for name in head.split() for _ in range(3)]
    assert "Validation recall@10 of all trials." in (place / "comparison.md").read_text("utf-8")


@pytest.mark.extended
def test_a_winner_whose_files_are_on_another_host_is_not_compared(
    swept: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [swept("here", quality=0.9), swept("there", quality=0.1)]
    shutil.rmtree(tmp_path / "sweeps" / "there" / "winner")
    assert compared(*runs) == []
    said = "warning: there is not compared: its winner's files are on another host\n"
    assert capsys.readouterr().err.endswith(said)
