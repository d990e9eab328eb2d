"""Studies of a folder and of a database."""

import shlex
from pathlib import Path

import optuna
import pytest
from studies import COMPLETE, RUNNING, add, make_study

from recsweep.errors import InputError
from recsweep.sweeps.reporting.result_files import write_optimization_results
from recsweep.sweeps.storage.backends import make_locks, open_storage
from recsweep.sweeps.study.catalog import StudyCatalog
from recsweep.sweeps.study.status import StudyStatus


def reached(study: optuna.Study) -> StudyStatus:
    """Nobody works any more."""
    return StudyStatus.of(study, 4, lambda _: False)


def test_studies_of_a_folder_are_its_journals(tmp_path: Path) -> None:
    for name in ("b", "a"):
        make_study(tmp_path / name)
    (tmp_path / "notes").mkdir()
    studies = StudyCatalog.of({"storage": None, "folder": str(tmp_path), "n_trials": 3})
    assert studies.names == ["a", "b"]
    assert str(studies) == f"{tmp_path}/"


def test_looking_for_studies_makes_nothing(tmp_path: Path) -> None:
    for storage in (None, f"sqlite:///{tmp_path}/none.db"):
        studies = StudyCatalog.of({"storage": storage, "folder": str(tmp_path / "sweeps")})
        assert studies.names == []
    assert list(tmp_path.iterdir()) == []


def test_studies_of_a_database_are_all_that_it_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sweeps.db"
    add(make_study(tmp_path / "one", url=url), COMPLETE, [0.3])
    make_study(tmp_path / "two", url=url)
    studies = StudyCatalog.of({"storage": url, "folder": str(tmp_path / "sweeps")})
    assert studies.names == ["one", "two"]
    assert studies.load("one")[1].n_finished == 1


def test_a_password_is_not_shown() -> None:
    url = "postgresql+psycopg://me:secret@host/studies"
    assert str(StudyCatalog.of({"storage": url, "folder": "sweeps"})) == (
        "postgresql+psycopg://me:***@host/studies"
    )


def test_a_study_is_read_with_its_total_and_its_living_workers(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae", n_trials=9)
    for _ in range(2):
        add(study, RUNNING)
    with make_locks(None, tmp_path / "vae", "vae").lease(1) or pytest.fail("it is free"):
        _, status = StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).load("vae")
    assert status.n_trials == 9
    assert [row.state for row in status.rows] == ["lost", "running"]


def test_another_programs_study_is_refused_in_one_line(tmp_path: Path) -> None:
    study = make_study(tmp_path / "vae")
    study._storage.delete_study(study._study_id)
    with pytest.raises(InputError, match=r"cannot read study vae, .*KeyError"):
        StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).load("vae")


MALFORMED = {
    "n_trials": ["x", None, True],
    "objectives": [5, [1], ["ndcg@10", "train_s"], "ndcg@10"],
    "identity": [5, None, "x", {}, {"fixed": [1], "fingerprint": {}, "versions": {}},
                 {"fixed": [], "fingerprint": 1, "versions": {}}],
    "space": [5, None, [], {"branches": [], "default": None}],
    "flags": [5, None, [1]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, of in MALFORMED.items() for value in of]
)
def test_an_attribute_of_another_type_is_one_line_before_anything_reads_it(
    name: str, value: object, tmp_path: Path
) -> None:
    study = make_study(tmp_path / "vae")
    studies = StudyCatalog.of({"storage": None, "folder": str(tmp_path)})
    assert studies.load("vae")
    study.set_user_attr(name, value)
    with pytest.raises(InputError, match=r"^cannot read study vae, which is damaged or another"):
        studies.load("vae")


@pytest.mark.parametrize(
    ("name", "value"), [("settings", 5), ("metrics", ["x"]), ("train_s", "x"), ("best_epoch", {})]
)
def test_a_trials_attribute_of_another_type_is_one_line(
    name: str, value: object, tmp_path: Path
) -> None:
    add(make_study(tmp_path / "vae"), COMPLETE, [0.3], **{name: value})
    with pytest.raises(InputError, match=r"^cannot read study vae, .*its trials have another type"):
        StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).load("vae")


def test_a_study_that_was_only_begun_is_no_damaged_one(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path / "vae")
    optuna.create_study(storage=storage, study_name="vae", direction="maximize")
    with pytest.raises(InputError, match=r"^study vae has no trials yet; res"):
        StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).load("vae")


def test_studies_whose_trials_are_in_a_database_are_known_by_their_folders(tmp_path: Path) -> None:
    make_study(tmp_path / "journal")
    (tmp_path / "journal" / "trials").mkdir()
    (tmp_path / "begun" / "trials").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    url = "sqlite:///my studies.db"
    study = make_study(tmp_path / "ended", url=f"sqlite:///{tmp_path}/studies.db")
    results = tmp_path / "ended" / "results"
    results.mkdir(parents=True)
    resume = shlex.join(["python", "-m", "recsweep", "-m", f"sweep.storage={url}", "model=ease"])
    file = results / "optimization_results.yaml"
    write_optimization_results(file, study, reached(study), resume)
    assert StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).in_databases == {
        "begun": "sweep.storage=URL", "ended": shlex.quote(f"sweep.storage={url}")
    }  # fmt: skip
    assert StudyCatalog.of({"storage": url, "folder": str(tmp_path)}).in_databases == {}


def test_a_folder_must_be_a_path() -> None:
    with pytest.raises(InputError, match=r"sweep\.folder .*but is 7"):
        StudyCatalog.of({"storage": None, "folder": 7})


def test_a_study_whose_files_have_moved_keeps_its_name(tmp_path: Path) -> None:
    def identity(path: str, data: str = "aa") -> dict[str, object]:
        found = {"data": data, "split": "bb"}
        config = {"data": {"path": path}}
        return {"fixed": [], "versions": {}, "config": config, "fingerprint": found}

    for name, content in (("ease-csv-11111111", "aa"), ("ease-csv-22222222", "cc")):
        made = make_study(tmp_path / name)
        made.set_user_attr("identity", identity("/old/a.csv", content))
    studies = StudyCatalog.of({"storage": None, "folder": str(tmp_path)})
    now, mine = identity("/new/a.csv"), "ease-csv-33333333"
    assert studies.find_moved(mine, now) == "ease-csv-11111111"
    assert studies.find_moved("ease-csv-22222222", now) == "ease-csv-22222222", "it exists"
    assert studies.find_moved("ials-csv-33333333", now) == "ials-csv-33333333", "another model"
    assert studies.find_moved(mine, identity("/new/a.csv", "dd")) == mine, "other data"
    make_study(tmp_path / "ease-csv-44444444").set_user_attr("identity", now)
    assert studies.find_moved(mine, now) == mine, "two are meant"


def test_to_look_at_a_study_repairs_nothing(tmp_path: Path) -> None:
    add(make_study(tmp_path / "vae"), COMPLETE, [0.5])
    journal = tmp_path / "vae" / "journal.log"
    torn = journal.read_bytes() + b'{"op_code"'
    journal.write_bytes(torn)
    study, status = StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).load("vae")
    assert status.n_finished == 1
    assert journal.read_bytes() == torn
    with pytest.raises(InputError, match="only a sweep writes"):
        study.set_user_attr("a", 1)


def test_a_journal_that_is_a_link_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("first\nlast")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "journal.log").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="it is a link"):
        StudyCatalog.of({"storage": None, "folder": str(tmp_path)}).load("vae")
    assert (tmp_path / "mine").read_text() == "first\nlast"
