"""The line that reproduces a winner."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from studies import COMPLETE, RUNNING, add, make_study

from recsweep.app import Settings, run
from recsweep.build import validate
from recsweep.errors import InputError

LINE = (
    "python -m recsweep model=multivae data=synthetic model.beta={} model.dropout_rate=0.5 "
    "'model.hidden_dims=[600]'"
)


@pytest.fixture
def best(config: Any, tmp_path: Path) -> Any:
    """Runs `task=best`."""
    folder = f"sweep.folder={tmp_path}/sweeps"
    return lambda *overrides: run(config("task=best", folder, *overrides), tmp_path / "out", [])


def make(tmp_path: Path, *names: str) -> None:
    """Studies with two complete trials each."""
    for name in names:
        study = make_study(tmp_path / "sweeps" / name)
        add(study, COMPLETE, [0.4], beta=0.25)
        add(study, COMPLETE, [0.5], beta=0.1 + 0.2)


def test_the_winner_is_one_line_that_makes_the_same_configuration(
    best: Any, config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "vae", "other")
    best("study=vae")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{LINE.format(0.1 + 0.2)}\n", "")
    python, dash_m, recsweep, *overrides = shlex.split(printed.out)
    assert [python, dash_m, recsweep] == ["python", "-m", "recsweep"]
    model = validate(Settings, config(*overrides), "").model
    assert (model["beta"], model["hidden_dims"]) == (0.1 + 0.2, [600])


def test_the_only_study_needs_no_name(
    best: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "vae")
    best()
    printed = capsys.readouterr()
    assert printed.out.startswith("python -m recsweep model=multivae ")
    assert printed.err == "# study vae\n"


def test_of_several_objectives_every_point_of_the_front_is_a_line(
    best: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path / "sweeps" / "vae", "ndcg@100", "train_s")
    for beta, values in ((0.25, [0.3, 1.0]), (0.5, [0.5, 50.0]), (0.75, [0.1, 60.0])):
        add(study, COMPLETE, values, beta=beta)
    best()
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [LINE.format(0.5), LINE.format(0.25)]
    assert printed.err.splitlines() == [
        "# study vae",
        "# trial 1: ndcg@100 0.5000, train_s 50.0",
        "# trial 0: ndcg@100 0.3000, train_s 1.0",
    ]


def refused(best: Any, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        best(*overrides)
    return str(caught.value)


def test_an_unknown_study_is_answered_with_those_that_are_close(best: Any, tmp_path: Path) -> None:
    make(tmp_path, "multivae-ml-1m", "multivae-ml-20m", "ease")
    assert refused(best, "study=multivea-ml-1m") == (
        f"study must be one of those in {tmp_path}/sweeps/, but is multivea-ml-1m; "
        "did you mean multivae-ml-1m or multivae-ml-20m?"
    )
    assert refused(best, "study=eas").endswith("but is eas; did you mean ease?")
    assert refused(best, "study=ials").endswith("but is ials; task=studies lists them")


def test_among_several_one_must_be_named(best: Any, tmp_path: Path) -> None:
    make(tmp_path, "b", "a")
    assert refused(best) == (
        f"study must be given when there are several, but is null; {tmp_path}/sweeps/ has a, b: "
        "set study=NAME"
    )


def test_where_nothing_is_a_sweep_is_suggested(best: Any, tmp_path: Path) -> None:
    assert refused(best) == (
        f"no study found in {tmp_path}/sweeps/; start one with "
        "python -m recsweep -m model=CHOICE, or set sweep.folder or sweep.storage"
    )


@pytest.mark.parametrize("named", [["study=vae"], []])
def test_a_study_in_a_database_says_where_it_is(
    best: Any, tmp_path: Path, named: list[str]
) -> None:
    (tmp_path / "sweeps" / "vae" / "trials").mkdir(parents=True)
    assert refused(best, *named) == (
        f"study must be one whose trials are in {tmp_path}/sweeps/, but those of vae are in a "
        "database; add sweep.storage=URL"
    )


def test_a_study_without_a_complete_trial_has_no_winner_yet(best: Any, tmp_path: Path) -> None:
    add(make_study(tmp_path / "sweeps" / "vae"), RUNNING)
    assert refused(best) == (
        "study vae has no complete trial yet (0 of 4 done); resume it with "
        "the command that started it"
    )
