"""The list of studies, line by line."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from studies import COMPLETE, FAIL, PRUNED, RUNNING, add, make_study

from recsweep.app import run
from recsweep.run_files import JOURNAL


@pytest.fixture
def listed(config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Lines of `task=studies`."""

    def lines(*overrides: str) -> list[str]:
        folder = f"sweep.folder={tmp_path}/sweeps"
        run(config("task=studies", folder, *overrides), tmp_path / "out", [])
        return capsys.readouterr().out.splitlines()

    return lines


def test_where_nothing_is_the_place_is_named_and_stays_empty(listed: Any, tmp_path: Path) -> None:
    assert listed() == [f"no studies in {tmp_path}/sweeps/"]
    url = f"sqlite:///{tmp_path}/none.db"
    assert listed(f"sweep.storage={url}") == [f"no studies in {url}"]
    assert list(tmp_path.iterdir()) == []


def test_every_study_is_a_line(listed: Any, tmp_path: Path) -> None:
    vae = make_study(tmp_path / "sweeps" / "multivae-ml-1m", n_trials=30)
    for state, values in ((COMPLETE, [0.41234]), (PRUNED, [0.3]), (FAIL, None), (RUNNING, None)):
        add(vae, state, values)
    both = make_study(tmp_path / "sweeps" / "both", "ndcg@100", "train_s", n_trials=2)
    add(both, COMPLETE, [0.4, 3.0])
    make_study(tmp_path / "sweeps" / "new", n_trials=12)
    today = f"{datetime.now():%Y-%m-%d}"
    head, rule, *lines = listed()
    assert head == (
        "study              done  running  pruned  failed                   best       last change"
    )
    assert rule == "─" * len(head)
    assert [line.rpartition(today)[0] or line for line in lines] == [
        "both             1 of 2        0       0       0  1 on the Pareto front  ",
        "multivae-ml-1m  3 of 30        0       1       1        ndcg@100 0.4123  ",
        "new             0 of 12        0       0       0",
    ]


def test_a_database_is_listed_too(listed: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sweeps.db"
    make_study(tmp_path / "sweeps" / "vae", url=url)
    assert listed(f"sweep.storage={url}")[2].startswith("vae    0 of 4 ")


def test_studies_in_databases_are_named_last(listed: Any, tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "other" / "trials").mkdir(parents=True)
    last = "other: its trials are in a database; add sweep.storage=URL"
    assert listed() == [f"no studies in {tmp_path}/sweeps/", last]
    make_study(tmp_path / "sweeps" / "vae")
    assert [line.split()[0] for line in listed()][2:] == ["vae", "other:"]
    assert listed()[-1] == last


def test_a_damaged_study_hides_no_other(listed: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_study(tmp_path / "sweeps" / name)
    journal = tmp_path / "sweeps" / "b" / JOURNAL
    first, *rest = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([first, "damage\n", *rest]))
    lines = listed()
    assert [line.split()[0] for line in lines[2:4]] == ["a", "c"]
    assert lines[4].startswith("b      line 2 of")
    assert f"line 2 of {journal} must be an Optuna record" in lines[4]


def test_a_study_whose_attribute_has_another_type_hides_no_other(
    listed: Any, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        make_study(tmp_path / "sweeps" / name).set_user_attr("flags", [1] if name == "b" else [])
    lines = listed()
    assert [line.split()[0] for line in lines[2:4]] == ["a", "c"]
    assert lines[4].startswith("b      cannot read study b, which is damaged")


def test_a_journal_of_something_else_says_so(listed: Any, tmp_path: Path) -> None:
    journal = tmp_path / "sweeps" / "diary" / JOURNAL
    journal.parent.mkdir(parents=True)
    journal.touch()
    assert listed()[0].startswith(
        "diary  cannot read study diary, which is damaged or another program's ("
    )
