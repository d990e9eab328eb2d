"""Files that are there whole or not at all, on a real disk."""

import errno
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recsweep import files
from recsweep.errors import InputError
from recsweep.files import (
    disk_errors_in_one_line,
    expand_user,
    file_sha256,
    is_folder,
    no_file,
    open_itself,
    read_errors_in_one_line,
    refuse_file,
    refuse_folder,
    refuse_links,
    sole_writer,
    whole_file,
    whole_folder,
)

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other files and words")


def test_the_checksum_of_nothing_is_the_published_one(tmp_path: Path):
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_a_file_takes_its_name_only_when_it_is_written(tmp_path: Path):
    target = tmp_path / "deep" / "file"
    with whole_file(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_an_old_file_survives_a_failure_to_write_the_new_one(tmp_path: Path):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def write_and_fail() -> None:
        with whole_file(target) as file:
            file.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_at_once_who_write_one_file_do_not_write_into_each_others(tmp_path: Path):
    target = tmp_path / "file"
    with whole_file(target) as first:
        first.write(b"first")
        with whole_file(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
        first.write(b" and last")
    assert target.read_bytes() == b"first and last"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target, synced = tmp_path / "file", []

    def watched(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_size, target.exists()))
        os.fsync(descriptor)

    monkeypatch.setattr(files, "fsync", watched)
    with whole_file(target) as file:
        file.write(b"new")
    assert synced == [(3, False)], "all three bytes, and no name yet"


def fail_to_write(target: Path) -> None:
    with sole_writer(target), whole_file(target):
        raise KeyError


def test_a_failure_leaves_no_folder_that_was_not_there_and_no_lock(tmp_path: Path):
    with pytest.raises(KeyError):
        fail_to_write(tmp_path / "deep" / "cache" / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_others_have_in_the_folder(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "other").touch()
    with pytest.raises(KeyError):
        fail_to_write(tmp_path / "cache" / "file")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["other"]


def test_a_folder_that_was_there_stays_though_it_is_empty(tmp_path: Path):
    (tmp_path / "cache").mkdir()
    with pytest.raises(KeyError):
        fail_to_write(tmp_path / "cache" / "deep" / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


def count_up(target: Path) -> None:
    """Fail to write often, and in between raise the number in a file by one under the lock."""
    for _ in range(30):
        with pytest.raises(KeyError):
            fail_to_write(target)
        with sole_writer(target):
            number = target.with_name("number")
            number.write_text(str(int(number.read_text()) + 1))


def test_a_lock_that_goes_after_a_failure_still_keeps_others_out(tmp_path: Path):
    (tmp_path / "number").write_text("0")
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in [pool.submit(count_up, tmp_path / "file") for _ in range(3)]:
            run.result()
    assert (tmp_path / "number").read_text() == "90"


def test_a_lock_that_cannot_go_hides_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where nobody can remove a file that is open."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "it is used by another process")

    def fail() -> None:
        with sole_writer(tmp_path / "file"):
            monkeypatch.setattr(Path, "unlink", refuse)
            raise InputError("no network")

    with pytest.raises(InputError, match="no network"):
        fail()


@POSIX
def test_what_cannot_be_read_names_the_file_and_what_helps(refused, tmp_path: Path):
    with (
        refused(f"cannot read {tmp_path} (Is a directory); give"),
        read_errors_in_one_line(tmp_path / "x"),
    ):
        tmp_path.open()
    with (
        refused("cannot read ", "x (broken)"),
        read_errors_in_one_line(tmp_path / "x"),
    ):
        raise OSError("broken")
    with refused("(Permission denied); change its permissions"), read_errors_in_one_line(tmp_path):
        raise PermissionError(13, "Permission denied", "y")


@POSIX
def test_what_is_no_file_is_told_apart(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    assert no_file(tmp_path) == "is a folder"
    assert no_file(tmp_path / "gone") == no_file(tmp_path / "gone" / "x") == "is not there"
    assert no_file(tmp_path / "link") == "is a link to nothing"
    assert no_file(tmp_path / "pipe") == "is a pipe or a device"


def test_what_the_disk_refuses_names_the_file_and_the_setting(refused, tmp_path: Path):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "inside"
    with (
        refused(str(tmp_path / "file"), "permissions", "cache_dir"),
        disk_errors_in_one_line(target, "cache_dir"),
        sole_writer(target),
    ):
        pytest.fail("there is no such folder")


def test_a_path_that_cannot_be_looked_at_is_no_folder(tmp_path: Path) -> None:
    assert is_folder(tmp_path)
    assert not is_folder(tmp_path / ("x" * 300))
    assert not is_folder(tmp_path / "absent")


@POSIX
def test_an_unknown_home_folder_stays_as_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert expand_user("~/runs") == Path("/home/ann/runs")
    assert expand_user("~nobody-of-that-name/runs") == Path("~nobody-of-that-name/runs")


def test_a_folder_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with whole_folder(target, "task.folder") as unfinished:
        (unfinished / "file").write_text("content", encoding="utf-8")
        assert not target.exists()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "a", "a/b", "a/b/file",
    ]  # fmt: skip


def test_two_at_once_who_write_one_folder_do_not_write_into_each_others(tmp_path: Path) -> None:
    def write_late() -> None:
        with whole_folder(tmp_path / "a", "task.folder") as late:
            (late / "late").touch()
            with whole_folder(tmp_path / "a", "task.folder") as early:
                (early / "early").touch()

    with pytest.raises(InputError, match=r"task\.folder"):
        write_late()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["a", "a/early"]


def test_a_folder_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:

    def write_half() -> None:
        with whole_folder(tmp_path / "new" / "a", "task.folder") as unfinished:
            (unfinished / "file").write_text("content", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").write_text("precious", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"must be a new or empty .* but .*a is not empty; give task"
    ):
        refuse_folder(tmp_path / "a", "task.folder")
    with (
        pytest.raises(InputError, match=r"task\.folder"),
        whole_folder(tmp_path / "a", "task.folder"),
    ):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "mine"]


def test_a_new_or_empty_folder_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_folder(tmp_path, "task.folder")
    refuse_folder(tmp_path / "a" / "b", "task.folder")
    monkeypatch.chdir(tmp_path)
    refuse_folder(Path("a"), "task.folder")
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match=r"taken is no folder; give task\.folder=FOLDER"):
        refuse_folder(Path("taken") / "b", "task.folder")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="there are no namespaces here")
def test_a_folder_on_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    """A real mount, in a namespace of its own; skipped where one may not be made."""
    script = (
        "mount --bind . . && mount -o remount,ro,bind . && "
        f'{shlex.quote(sys.executable)} -c "'
        "from pathlib import Path; from recsweep.files import refuse_folder; "
        "refuse_folder(Path('sub/results').absolute(), 'hydra.run.dir')\""
    )
    namespace = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*namespace, "mount --bind . ."], cwd=tmp_path, check=False).returncode:
        pytest.skip("no mount may be made here")
    done = subprocess.run(
        [*namespace, script], cwd=tmp_path, check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )  # fmt: skip
    assert "InputError: hydra.run.dir must be a new or empty folder" in done.stderr


def test_a_new_file_is_free_and_one_that_is_there_only_when_it_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refuse_file(Path("new/a.txt"), "task.output", overwrite=False) == tmp_path / "new/a.txt"
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"
    Path("mine").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine is already there; set task\.overwrite=true, or"):
        refuse_file(Path("mine"), "task.output", overwrite=False)
    assert refuse_file(Path("mine"), "task.output", overwrite=True) == tmp_path / "mine"
    for read in (Path("mine"), tmp_path):
        with pytest.raises(InputError, match=r"mine is read by this command; give another name"):
            refuse_file(Path("mine"), "task.output", overwrite=True, inputs=[None, read])
    for wrong, found in ((tmp_path, "is a folder itself"), (Path("mine/a"), "is no such folder")):
        with pytest.raises(InputError, match=found):
            refuse_file(wrong, "task.output", overwrite=True)


def test_a_link_in_a_folder_is_refused_and_one_to_it_is_not(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "secret").write_text("mine")
    folder = tmp_path / "results"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "file").write_text("theirs")
    (tmp_path / "other name").symlink_to(folder)
    refuse_links(folder)
    refuse_links(tmp_path / "other name")
    for target in ("../../secret", str(tmp_path), "nowhere"):
        link = folder / "model" / "link"
        link.symlink_to(target)
        with refused(f"{folder} must not contain links, but model/link is a link to {target}"):
            refuse_links(folder)
        link.unlink()


def test_a_launchers_own_links_are_left_out_but_it_is_none_itself(
    tmp_path: Path, refused: Any
) -> None:
    folder = tmp_path / "study"
    (folder / ".submitit").mkdir(parents=True)
    (folder / ".submitit" / "script.sh").symlink_to(tmp_path / "1_submission.sh")
    (folder / "trials" / ".submitit").mkdir(parents=True)
    refuse_links(folder, [".submitit"])
    with refused("is a link to"):
        refuse_links(folder)
    (folder / "trials" / ".submitit" / "a").symlink_to(tmp_path)
    with refused("trials/.submitit/a is a link to"):
        refuse_links(folder, [".submitit"])
    (folder / "trials" / ".submitit" / "a").unlink()
    shutil.rmtree(folder / ".submitit")
    (folder / ".submitit").symlink_to(tmp_path)
    with refused(".submitit is a link to"):
        refuse_links(folder, [".submitit"])


def test_files_that_come_and_go_are_no_links(tmp_path: Path) -> None:
    """As results are written, and renamed, while another command begins."""
    code = (
        "import sys, time; from pathlib import Path; from recsweep.files import whole_file\n"
        "ends = time.monotonic() + 60\n"
        "while time.monotonic() < ends and not Path(sys.argv[1], 'stop').exists():\n"
        "    with whole_file(Path(sys.argv[1], 'x')) as file: file.write(b'1')\n"
    )
    (tmp_path / "x").write_text("0")
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        while (tmp_path / "x").read_text() == "0":
            time.sleep(0.01)
        for _ in range(3000):
            refuse_links(tmp_path)
    finally:
        (tmp_path / "stop").touch()
        assert writer.wait(timeout=60) == 0


@POSIX
def test_a_file_is_opened_itself_and_no_link_pipe_or_device(tmp_path: Path) -> None:
    def append(file: Path) -> None:
        with open(file, "a", opener=open_itself) as stream:
            stream.write("more")

    mine, link, pipe = tmp_path / "mine", tmp_path / "link", tmp_path / "pipe"
    append(mine)
    append(mine)
    assert mine.read_text() == "moremore"
    for target in (mine, tmp_path / "nowhere"):
        link.symlink_to(target)
        with pytest.raises(OSError, match="it is a link, which could lead anywhere"):
            append(link)
        link.unlink()
    assert not (tmp_path / "nowhere").exists()
    os.mkfifo(pipe)
    code = (
        "import os, sys; from recsweep.files import open_itself as o; o(sys.argv[1], os.O_RDONLY)"
    )
    line = [sys.executable, "-c", code, str(pipe)]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert "it is a pipe or a device" in ended.stderr  # and did not wait for somebody who writes
    with pytest.raises(OSError, match="it is a pipe or a device"):
        open_itself("/dev/null", os.O_RDWR)
    assert mine.read_text() == "moremore"


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "x.npz.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)), sole_writer(tmp_path / "x.npz"):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have names")
def test_a_folder_with_a_pipe_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    refuse_links(tmp_path)
    os.mkfifo(tmp_path / "part" / "note.md")
    with pytest.raises(InputError, match=r"contain files, but part/note\.md is a pipe or a device"):
        refuse_links(tmp_path)
