import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import Trial, create_trial

from recsweep.run_files import JOURNAL
from recsweep.sweeps.storage import journal as journal_module
from recsweep.sweeps.storage.backends import open_storage
from recsweep.sweeps.storage.errors import StorageError
from recsweep.sweeps.storage.journal import Journal
from recsweep.sweeps.storage.locks import hold_lock

Record = dict[str, object]
FIRST, SECOND, THIRD = ({"op_code": 2, "worker_id": w, "value": "é" * 9} for w in "abc")
NOBODY = 65534

STORM = """
import os, random, signal, sys, time
from pathlib import Path
from recsweep.sweeps.storage.journal import Journal

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
path = folder / "journal.log"
os.fsync = lambda _: None  # matters when the machine dies; writing is what shall be hit here

def write(life):
    journal = Journal(path)
    acknowledged = os.open(folder / f"acknowledged-{life}", os.O_WRONLY | os.O_CREAT)
    for i in range(10**9):
        text = "x" * random.choice([10, 1000, 400_000])
        journal.append_logs([{
            "op_code": 2, "worker_id": "storm", "study_id": 0,
            "user_attr": {f"writer {life}": [i, text]},
        }])
        os.write(acknowledged, f"{i}\\n".encode())
        list(journal.read_logs(journal._n_read))
        time.sleep(0.005)

def start(life):
    child = os.fork()
    if child == 0:
        random.seed(life)
        try:
            write(life)
        finally:
            os._exit(1)
    return child

def is_torn():
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), 1, end - 1) != b"\\n"

random.seed(1)
writers = [start(life) for life in range(4)]
n_lives = n_torn = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    victims = [random.randrange(4)]
    moment = time.monotonic() + random.uniform(0.005, 0.05)
    if n_lives % 2:  # take aim
        victims, moment = range(4), moment + 1
        while time.monotonic() < moment and not is_torn():
            pass
    else:
        time.sleep(moment - time.monotonic())
    for victim in victims:
        os.kill(writers[victim], signal.SIGKILL)
    for victim in victims:
        assert os.WIFSIGNALED(os.waitpid(writers[victim], 0)[1]), "a writer failed"
    n_torn += len(victims) > 1 and is_torn()
    n_lives += 1
    for victim in victims:
        writers[victim] = start(4 * n_lives + victim)
for writer in writers:
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
print(n_lives, n_torn)
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of two records."""
    Journal(tmp_path / JOURNAL).append_logs([FIRST, SECOND])
    return tmp_path / JOURNAL


def with_checksums(*written: Record) -> list[Record]:
    """Records as they stand in a journal: the CRC-32 of all before it is their last key."""
    texts = [json.dumps(record, separators=(",", ":"))[:-1] for record in written]
    digits = [f"{zlib.crc32(''.join(texts[: n + 1]).encode()):08x}" for n in range(len(texts))]
    return [{**record, "crc32": crc} for record, crc in zip(written, digits, strict=True)]


def records(path: Path) -> list[Record]:
    return list(Journal(path).read_logs(0))


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """A limit that the system enforces in mid-write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder that may be read; root becomes somebody else to see that."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_what_was_appended_is_read_also_by_others_and_by_optuna_itself(journal: Path) -> None:
    one, other = Journal(journal), Journal(journal)
    assert list(one.read_logs(0)) == [FIRST, SECOND]
    other.append_logs([THIRD])
    assert list(one.read_logs(2)) == [THIRD]
    assert list(one.read_logs(3)) == []
    assert list(one.read_logs(1)) == [SECOND, THIRD]
    stock = optuna.storages.journal.JournalFileBackend(str(journal))
    assert list(stock.read_logs(0)) == with_checksums(FIRST, SECOND, THIRD)


def test_what_begins_or_ends_is_on_the_disk_with_all_before_it(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, synced = os.fsync, []

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    Journal(journal).append_logs([THIRD])
    assert synced == [journal.stat().st_size]

    for name in ("INTERMEDIATE_VALUE", "USER_ATTR", "SYSTEM_ATTR"):  # of a trial that still runs
        operation = JournalOperation[f"SET_TRIAL_{name}"]
        Journal(journal).append_logs([{"op_code": int(operation), "trial_id": 0}])
    assert len(synced) == 1
    assert len(records(journal)) == 6
    for name in ("CREATE_TRIAL", "SET_TRIAL_STATE_VALUES", "CREATE_STUDY", "SET_STUDY_USER_ATTR"):
        Journal(journal).append_logs([{"op_code": int(JournalOperation[name])}])
        assert synced[-1] == journal.stat().st_size


def test_a_reader_who_stops_in_the_middle_goes_on_there(journal: Path) -> None:
    reader = Journal(journal)
    assert next(reader.read_logs(0)) == FIRST
    assert list(reader.read_logs(1)) == [SECOND]


def test_a_record_torn_at_any_byte_is_cut_on_opening(journal: Path) -> None:
    whole = journal.read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole)):
        journal.write_bytes(whole[:end])
        assert records(journal) == [FIRST]
        assert journal.read_bytes() == whole[:start]
        Journal(journal).append_logs([THIRD])
        assert records(journal) == [FIRST, THIRD]


def test_a_record_that_a_sibling_has_torn_is_cut_by_the_next_to_append(journal: Path) -> None:
    reader, writer = Journal(journal), Journal(journal)
    assert list(reader.read_logs(0)) == [FIRST, SECOND]
    torn = b'{"op_code":2,"worker_id":"somebody who died in the middle of a long reco'
    for n_bytes in (1, 20, len(torn)):
        before = len(list(reader.read_logs(0)))
        with journal.open("ab") as file:
            file.write(torn[:n_bytes])
        assert list(reader.read_logs(before)) == []
        writer.append_logs([THIRD])
        assert list(reader.read_logs(before)) == [THIRD]
    assert records(journal) == [FIRST, SECOND, THIRD, THIRD, THIRD]


@pytest.mark.parametrize("lost", [b"\0" * 12, b'{"op_code":2,\0\0\0\0\n', b"12\n"])
def test_a_last_line_that_a_power_cut_has_spoilt_is_cut_on_opening(
    journal: Path, lost: bytes
) -> None:
    whole = journal.read_bytes()
    journal.write_bytes(whole + lost)
    assert records(journal) == [FIRST, SECOND]
    assert journal.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b'{"op_c', b"\n"])
def test_a_journal_without_a_whole_record_is_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    assert open_storage(None, tmp_path).get_all_studies() == []
    assert (tmp_path / JOURNAL).read_bytes() == b""


def test_a_record_damaged_in_the_middle_is_named_and_nothing_is_changed(journal: Path) -> None:
    Journal(journal).append_logs([THIRD])
    spoilt = journal.read_bytes().replace(b'"worker_id":"b"', b'"worker_id:"b"')
    journal.write_bytes(spoilt)
    with pytest.raises(StorageError, match=r"^line 2 of \S+journal\.log must be .* damaged") as no:
        open_storage(None, journal.parent)
    assert "\n" not in str(no.value)
    assert journal.read_bytes() == spoilt


@pytest.mark.parametrize("byte", [b" ", b"", b"x"])
def test_a_newline_lost_before_the_last_record_loses_no_record(journal: Path, byte: bytes) -> None:
    Journal(journal).append_logs([THIRD])
    before, _, last = journal.read_bytes()[:-1].rpartition(b"\n")
    spoilt = before + byte + last + b"\n"
    journal.write_bytes(spoilt)
    with pytest.raises(StorageError, match=r"^line 2 of \S+journal\.log must be .* damaged"):
        open_storage(None, journal.parent)
    assert journal.read_bytes() == spoilt


def test_a_journal_that_was_replaced_or_deleted_in_use_is_noticed(journal: Path) -> None:
    storage = Journal(journal)
    assert len(list(storage.read_logs(0))) == 2
    journal.write_bytes(b"")
    with pytest.raises(StorageError, match="shrank while in use"):
        list(storage.read_logs(2))
    journal.unlink()
    with pytest.raises(StorageError, match="No such file"):
        storage.append_logs([FIRST])
    assert not journal.exists()


def test_reading_waits_for_nobody(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(None, tmp_path), study_name="study")
    study.set_user_attr("a", 1)
    with hold_lock(tmp_path / JOURNAL):  # perhaps by somebody who was stopped
        again = optuna.load_study(storage=open_storage(None, tmp_path), study_name="study")
        assert again.user_attrs == study.user_attrs == {"a": 1}


def test_a_reader_waits_only_for_the_repair_of_what_it_cannot_read(journal: Path) -> None:
    reader, whole = Journal(journal), journal.read_bytes()
    with ThreadPoolExecutor() as pool:
        with hold_lock(journal):
            journal.write_bytes(whole + b"spoilt\n")
            found = pool.submit(lambda: list(reader.read_logs(0)))
            time.sleep(0.2)
            assert not found.done()
            journal.write_bytes(whole)
        assert found.result() == [FIRST, SECOND]


def test_a_full_disk_leaves_the_journal_as_it_was(journal: Path) -> None:
    storage, before = Journal(journal), journal.read_bytes()
    for n_bytes in (0, 1, 30):
        with (
            room_for(len(before) + n_bytes),
            pytest.raises(
                StorageError, match=r"^cannot access the study's journal \S+ \("
            ) as caught,
        ):
            storage.append_logs([THIRD])
        assert "\n" not in str(caught.value)
        assert journal.read_bytes() == before
    storage.append_logs([THIRD])
    assert records(journal) == [FIRST, SECOND, THIRD]


def test_a_folder_that_may_not_be_written_is_refused_in_one_line(unwritable: Path) -> None:
    with pytest.raises(
        StorageError, match=r"^cannot access the study's journal .*\(Permission denied\)"
    ):
        open_storage(None, unwritable)
    assert not list(unwritable.iterdir())


def test_a_study_survives_pickling_of_its_journal(tmp_path: Path) -> None:
    import pickle

    study = optuna.create_study(storage=open_storage(None, tmp_path), study_name="study")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    again = pickle.loads(pickle.dumps(study))  # noqa: S301 - our own
    assert [trial.value for trial in again.trials] == [1.0]


@pytest.mark.parametrize("seconds", [2.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_what_was_acknowledged_outlives_a_storm_of_kills(tmp_path: Path, seconds: float) -> None:
    optuna.create_study(storage=open_storage(None, tmp_path), study_name="storm")
    n_volleys, n_torn = map(int, run(STORM, tmp_path, seconds).split())
    written = [
        (writer, entry[0])
        for record in records(tmp_path / JOURNAL)[1:]
        for writer, entry in record["user_attr"].items()
    ]
    acknowledged = {
        (f"writer {file.name.partition('-')[2]}", int(i))
        for file in tmp_path.glob("acknowledged-*")
        for i in file.read_text().split()
    }
    assert n_volleys > seconds
    assert n_torn > 0 or seconds < 10
    assert len(acknowledged) > seconds
    assert acknowledged <= set(written)
    assert len(written) == len(set(written))
    (study,) = open_storage(None, tmp_path).get_all_studies()
    assert set(study.user_attrs) == {writer for writer, _ in written}


# --- checksums ------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study of three trials; the second is the best."""
    study = optuna.create_study(
        storage=open_storage(None, tmp_path), study_name="victim", direction="maximize"
    )
    for value in (0.25, 0.75, 0.5):
        study.add_trial(create_trial(value=value, user_attrs={"metrics": value}))
    return study


def plain(folder: Path, name: str = "victim") -> optuna.Study:
    """The study as Optuna's own programs open it."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(storage=storage, study_name=name)


def values(folder: Path) -> list[float | None]:
    study = optuna.load_study(storage=open_storage(None, folder), study_name="victim")
    return [trial.value for trial in study.trials]


@pytest.mark.usefixtures("study")
def test_every_byte_is_held_by_the_checksums(tmp_path: Path) -> None:
    file = tmp_path / JOURNAL
    reader, whole = Journal(file), file.read_bytes()
    for place, byte in enumerate(whole[:-1]):
        for changed in {byte ^ 1, byte ^ 32} - {ord("\n")}:
            file.write_bytes(whole[:place] + bytes([changed]) + whole[place + 1 :])
            number = whole[:place].count(b"\n") + 1
            with pytest.raises(StorageError, match=rf"^line ({number}|{number + 1}) of "):
                list(reader.read_logs(0))
    file.write_bytes(whole)
    assert len(list(reader.read_logs(0))) == 4


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (b'"value":0.5', b'"value":0.9', 4),
        (b'"value":0.25', b'"value":9.25', 2),
        (b'"study_name":"victim"', b'"study_name":"victor"', 1),
        (b'"metrics":0.75', b'"metrics": 0.75', 3),
    ],
)
def test_a_changed_digit_or_name_is_an_error_and_no_new_best(
    before: bytes, after: bytes, line: int, tmp_path: Path, study: optuna.Study
) -> None:
    assert study.best_value == 0.75
    file = tmp_path / JOURNAL
    spoilt = file.read_bytes().replace(before, after)
    assert spoilt != file.read_bytes()
    file.write_bytes(spoilt)
    with pytest.raises(StorageError) as refused:
        open_storage(None, tmp_path)
    assert str(refused.value) == (
        f"line {line} of {file} must be an Optuna record, but is damaged (its checksum is wrong: "
        "it was changed, or a record before it removed); restore the file from a backup, or "
        "delete its folder to start over"
    )
    assert file.read_bytes() == spoilt


MOVES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], int]] = {
    "removed": (lambda lines: [lines[0], *lines[2:]], 2),
    "swapped": (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
    "repeated": (lambda lines: [*lines[:3], lines[2], lines[3]], 4),
    "at the end": (lambda lines: [*lines, lines[2]], 5),
    "without the first": (lambda lines: lines[1:], 1),
    "without a checksum": (lambda lines: [lines[0], without_checksum(lines[1]), *lines[2:]], 2),
    "the last without one": (lambda lines: [*lines[:3], without_checksum(lines[3])], 4),
    "written anew": (lambda lines: [json.dumps(json.loads(each)).encode() for each in lines], 1),
    "a text of another length": (lambda lines: [*lines[:3], lines[3][:-3] + b'"}'], 4),
}


def without_checksum(line: bytes) -> bytes:
    record = json.loads(line)
    del record["crc32"]
    return json.dumps(record, separators=(",", ":")).encode()


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("move", MOVES)
def test_a_record_that_was_moved_or_removed_is_an_error(move: str, tmp_path: Path) -> None:
    change, number = MOVES[move]
    file = tmp_path / JOURNAL
    lines = change(file.read_bytes().splitlines())
    file.write_bytes(b"".join(each + b"\n" for each in lines))
    with pytest.raises(StorageError, match=f"^line {number} of {re.escape(str(file))} must "):
        values(tmp_path)


def test_a_note_of_ours_that_was_written_anew_is_an_error(
    tmp_path: Path, study: optuna.Study
) -> None:
    study.set_user_attr("n_trials", 4)
    file = tmp_path / JOURNAL
    *lines, note = file.read_bytes().splitlines(keepends=True)
    anew = json.dumps(json.loads(note)).replace(": 4", ": 9")
    assert anew != json.dumps(json.loads(note))
    file.write_bytes(b"".join([*lines, anew.encode(), b"\n"]))
    with pytest.raises(StorageError, match=r"^line 5 of .* \(its checksum is wrong"):
        values(tmp_path)


@pytest.mark.usefixtures("study")
def test_a_record_of_another_journal_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "other"
    study = optuna.create_study(storage=open_storage(None, other), study_name="victim")
    for value in (0.9, 0.8, 0.7):
        study.add_trial(create_trial(value=value, user_attrs={"metrics": value}))
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    theirs = (other / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_bytes(b"".join([*lines[:2], theirs[2], lines[3]]))
    with pytest.raises(StorageError, match=r"^line 3 of .* \(its checksum is wrong"):
        values(tmp_path)


@pytest.mark.usefixtures("study")
def test_nothing_is_appended_to_a_damaged_journal(tmp_path: Path) -> None:
    file = tmp_path / JOURNAL
    writer, behind = Journal(file), Journal(file)
    list(writer.read_logs(0))
    spoilt = file.read_bytes().replace(b"0.25", b"9.25")
    file.write_bytes(spoilt)
    with pytest.raises(StorageError, match=r"^line 2 of "):
        behind.append_logs([FIRST])
    assert file.read_bytes() == spoilt


def test_optuna_opens_the_file(tmp_path: Path, study: optuna.Study) -> None:
    theirs = plain(tmp_path)
    assert theirs.best_value == study.best_value == 0.75
    assert [trial.user_attrs for trial in theirs.trials] == [t.user_attrs for t in study.trials]


def test_notes_of_the_dashboard_stand_between_our_records(
    tmp_path: Path, study: optuna.Study
) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    theirs = plain(tmp_path)
    dashboard.save_note(theirs, "of the study")
    running = study.ask()
    dashboard.save_note(Trial(theirs, 1), "of a trial")
    theirs._storage.set_trial_system_attr(running._trial_id, "dashboard:x", 1)
    study.tell(running, 0.125)
    assert values(tmp_path) == [0.25, 0.75, 0.5, 0.125]
    again = optuna.load_study(storage=open_storage(None, tmp_path), study_name="victim")
    assert dashboard.get_note(again) == "of the study"
    assert dashboard.get_note(Trial(again, 1)) == "of a trial"
    assert again.trials[3].system_attrs == {"dashboard:x": 1}

    file = tmp_path / JOURNAL
    file.write_bytes(file.read_bytes().replace(b"0.125", b"9.125"))
    with pytest.raises(StorageError, match="its checksum is wrong"):
        values(tmp_path)


ELSEWHERE: dict[str, Callable[[optuna.Study], object]] = {
    "a trial": lambda study: study.add_trial(create_trial(value=9.0)),
    "a trial that begins": lambda study: study.ask(),
    "an end": lambda study: study.tell(3, 9.0),
    "a value": lambda study: study._storage.set_trial_intermediate_value(3, 1, 9.0),
    "a parameter": lambda study: study._storage.set_trial_param(
        3, "a", 9.0, optuna.distributions.FloatDistribution(0.0, 10.0)
    ),
    "a study": lambda study: optuna.create_study(storage=study._storage),
    "an attribute of ours": lambda study: study.set_user_attr("n_trials", 9),
    "any other attribute": lambda study: study.set_user_attr("dashboard:x", 9),
    "an attribute of Optuna's": lambda study: study._storage.set_study_system_attr(
        study._study_id, "study:metric_names", ["x"]
    ),
    "settings of a trial": lambda study: study._storage.set_trial_user_attr(3, "settings", {}),
    "an attribute of a trial": lambda study: study._storage.set_trial_system_attr(3, "x", 1),
    "a deletion": lambda study: study._storage.delete_study(study._study_id),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_another_program_begins_ends_or_deletes_is_refused(
    what: str, tmp_path: Path, study: optuna.Study
) -> None:
    study.ask()
    file = tmp_path / JOURNAL
    before = file.read_bytes()
    ELSEWHERE[what](plain(tmp_path))
    number = before.count(b"\n") + 1
    with pytest.raises(StorageError) as refused:
        values(tmp_path)
    assert str(refused.value) == (
        f"line {number} of {file} must have recsweep's checksum, since it is not a note of "
        "Optuna's dashboard, but has none: another program wrote or changed it; remove the line if "
        "it was added, or restore the file from a backup"
    )
    file.write_bytes(before)  # without that line
    assert values(tmp_path) == [0.25, 0.75, 0.5, None]


@pytest.mark.parametrize(
    "record",
    [
        *({"op_code": 3, "system_attr": each} for each in (None, [], "dashboard:x")),
        {"op_code": 3, "system_attr": {"dashboard:x": 1, "n": 1}},
        {"op_code": 2, "user_attr": {"n_trials": 1}, "system_attr": {"dashboard:x": 1}},
    ],
)
def test_a_note_sets_keys_of_the_dashboard_and_no_others(journal: Path, record: Record) -> None:
    JournalFileBackend(str(journal)).append_logs([record])
    with pytest.raises(StorageError, match=r"since it is not a note of Optuna's dashboard"):
        records(journal)


def test_others_that_append_at_the_same_time_are_not_overwritten(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's programs do not take our lock."""
    note: Record = {"op_code": 3, "worker_id": "dashboard", "system_attr": {"dashboard:x": 1}}
    own = journal_module._with_checksums

    def appends(*values: object) -> bytes:
        JournalFileBackend(str(journal)).append_logs([note])
        return own(*values)

    monkeypatch.setattr(journal_module, "_with_checksums", appends)
    Journal(journal).append_logs([THIRD])
    assert records(journal) == [FIRST, SECOND, note, THIRD]


def test_a_record_nested_too_deeply_is_damage(journal: Path) -> None:
    deep = b"[" * 200_000
    lines = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([lines[0], deep, lines[1], b""]))
    with pytest.raises(StorageError, match=r"^line 2 of .* damaged \(nested too deeply\)"):
        records(journal)
    journal.write_bytes(b"\n".join([*lines, deep, b""]))
    assert records(journal) == [FIRST, SECOND]


@pytest.mark.parametrize("lost", [b'{"op_c', b"12\n", b"\0" * 12, b'{"op_code":2,\0\0\n'])
def test_a_reader_ignores_what_a_writer_would_cut_and_cuts_nothing(
    journal: Path, lost: bytes
) -> None:
    spoilt = journal.read_bytes() + lost
    journal.write_bytes(spoilt)
    assert list(Journal(journal, is_read_only=True).read_logs(0)) == [FIRST, SECOND]
    assert journal.read_bytes() == spoilt
    assert records(journal) == [FIRST, SECOND]


def test_a_reader_is_told_of_damage_without_taking_a_lock(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that cannot be written."""
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0][:10] + b"?" + lines[0][11:], *lines[1:]]))
    opened, own = [], os.open
    monkeypatch.setattr(os, "open", lambda p, flags, *r: opened.append(flags) or own(p, flags, *r))
    with pytest.raises(StorageError, match="line 1 of"):
        list(Journal(journal, is_read_only=True).read_logs(0))
    assert opened
    assert not [flags for flags in opened if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)]


def test_a_reader_neither_appends_nor_makes_a_journal(journal: Path, tmp_path: Path) -> None:
    before = journal.read_bytes()
    with pytest.raises(StorageError, match="only a sweep writes to its journal"):
        Journal(journal, is_read_only=True).append_logs([THIRD])
    assert journal.read_bytes() == before
    with pytest.raises(StorageError, match="No such file"):
        open_storage(None, tmp_path / "other", is_read_only=True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("is_read_only", [True, False])
def test_a_journal_is_no_link(tmp_path: Path, *, is_read_only: bool) -> None:
    mine = tmp_path / "mine"
    mine.write_text("first\nlast")
    (tmp_path / JOURNAL).symlink_to(mine)
    with pytest.raises(StorageError, match="it is a link, which could lead anywhere"):
        open_storage(None, tmp_path, is_read_only=is_read_only)
    assert mine.read_text() == "first\nlast"
