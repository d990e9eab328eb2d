"""Names and readers of the files that runs and studies write."""

import json
import os
from pathlib import Path

import pytest
import yaml

from recsweep import run_files
from recsweep.errors import InputError
from recsweep.run_files import (
    COMPARED,
    CURVES,
    STUDIES,
    is_run,
    is_study,
    newest_comparison,
    read,
    read_compared,
    read_config,
    read_curves,
    read_metrics,
    read_overrides,
    read_run_id,
    read_split,
    read_summary,
    read_tags,
    summary_file,
    training_folder,
    trial_folder,
    write_yaml,
)


def test_folders_of_trials_sort_as_their_numbers() -> None:
    assert trial_folder("sweeps/study", 7) == Path("sweeps/study/trials/0007")
    assert training_folder("s", 7, 2) == Path("s/winner/0007/replicate-2")


def test_what_a_run_runs_with_is_text_and_its_id_is_apart(tmp_path: Path) -> None:
    noted = {"run_id": "abc", "threads": 2, "version.numpy": "2.0"}
    write_yaml(tmp_path / "environment.yaml", noted)
    assert read_tags(tmp_path) == {"threads": "2", "version.numpy": "2.0"}
    assert read_run_id(tmp_path) == "abc"
    write_yaml(tmp_path / "environment.yaml", {"run_id": None})
    assert read_run_id(tmp_path) is None


@pytest.mark.parametrize("value", ["x", 5, None, [1], 1.5])
@pytest.mark.parametrize("group", ["task", "data", "split", "model", "tracking", "metrics"])
def test_a_group_of_a_stored_configuration_is_a_mapping(
    group: str, value: object, tmp_path: Path
) -> None:
    write_yaml(tmp_path / "config.yaml", {"model": {"l2": 1.0}, group: value})
    if group == "metrics" and value in (None, [1]):
        assert read_config(tmp_path)["metrics"] == value
        return
    with pytest.raises(InputError, match=rf"{group} must be a group of settings, but is .*; copy"):
        read_config(tmp_path)


def test_a_configuration_may_lack_groups_that_a_command_does_not_need(tmp_path: Path) -> None:
    write_yaml(tmp_path / "config.yaml", {"seed": 1})
    assert read_config(tmp_path) == {"seed": 1}


@pytest.mark.parametrize("key", [1, None, True, 2.5])
def test_keys_of_a_runs_files_are_names(key: object, tmp_path: Path) -> None:
    (tmp_path / "environment.yaml").write_text(yaml.safe_dump({"threads": 2, key: 1}))
    with pytest.raises(InputError, match=f"every key must be a name, but one is {key!r}"):
        read_tags(tmp_path)


def test_a_curve_with_a_field_of_megabytes_is_one_line(tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text(f"epoch,train/loss\n1,{'1' * (3 << 20)}\n")
    with pytest.raises(InputError, match=r"readable curves\.csv, but .*field larger than"):
        read_curves(tmp_path)


def test_a_table_beyond_its_limit_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CURVES).write_text("epoch,train/loss\n1,2.5\n")
    assert len(read_curves(tmp_path)) == 1
    monkeypatch.setattr(run_files, "MAX_TABLE_BYTES", 22)
    with pytest.raises(InputError, match=r"curves\.csv is not \(it must have at most 22 bytes"):
        read_curves(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have names")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_file_of_a_run(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"is not \(it must be a regular file, but is a folder, a"):
        read(file, lambda _: os.read(os.open(file, os.O_RDONLY | os.O_NONBLOCK), 9), bytes)


def test_a_split_has_a_fingerprint_and_sizes(tmp_path: Path) -> None:
    write_yaml(tmp_path / "split.yaml", {"fingerprint": "f", "n_items": 7})
    assert read_split(tmp_path) == ("f", {"n_items": 7})
    write_yaml(tmp_path / "split.yaml", {"n_items": 7})
    with pytest.raises(InputError, match=r"readable split\.yaml, but .* is not \('fingerprint'\)"):
        read_split(tmp_path)


def test_a_curve_has_values_where_its_file_has_some(tmp_path: Path) -> None:
    (tmp_path / CURVES).write_text("epoch,train/loss,valid/map@5\n1,2.5,\n2,1.5,0.25\n", "utf-8")
    assert read_curves(tmp_path) == [
        (1, {"train/loss": 2.5}), (2, {"train/loss": 1.5, "valid/map@5": 0.25}),
    ]  # fmt: skip


def test_a_file_that_is_missing_or_damaged_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"readable metrics\.json, but .*No such file"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match=r"readable metrics\.json, but .* is not \(\[1\]\); copy"):
        read_metrics(tmp_path)
    (tmp_path / "overrides.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"readable overrides\.yaml, but "):
        read_overrides(tmp_path)


def test_runs_and_studies_are_known_by_their_files(tmp_path: Path) -> None:
    assert not is_run(tmp_path)
    assert not is_study(tmp_path)
    assert read_summary(tmp_path) == {}
    (tmp_path / "metrics.json").write_text(json.dumps({}), encoding="utf-8")
    assert is_run(tmp_path)
    for name in ("journal.log", "winner", "trials", "results/optimization_results.yaml"):
        study = tmp_path / name.replace("/", "-")
        (study / name).mkdir(parents=True)
        assert is_study(study), name
    summary = summary_file(tmp_path / "ended")
    summary.parent.mkdir(parents=True)
    write_yaml(summary, {"resume": "é"})
    assert read_summary(tmp_path / "ended") == {"resume": "é"}


def test_the_newest_comparison_of_a_study_is_found(tmp_path: Path) -> None:
    studies = {"comparison-1": ["a", "b"], "comparison-2": ["a", "c"], "comparison-3": ["b", "c"]}
    for age, (folder, names) in enumerate(studies.items()):
        (tmp_path / folder).mkdir()
        write_yaml(tmp_path / folder / STUDIES, {COMPARED: names})
        os.utime(tmp_path / folder / STUDIES, (age, age))
    found = {name: newest_comparison(tmp_path / name) for name in "abcd"}
    assert found == {
        "a": tmp_path / "comparison-2", "b": tmp_path / "comparison-3",
        "c": tmp_path / "comparison-3", "d": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["../a", "/a", "a/b", ".."])
def test_a_study_of_a_comparison_is_a_folder_beside_it(name: str, tmp_path: Path) -> None:
    write_yaml(tmp_path / STUDIES, {COMPARED: ["a", name]})
    with pytest.raises(InputError, match="must be a name, but is"):
        read_compared(tmp_path)
    write_yaml(tmp_path / STUDIES, {COMPARED: ["a", "b"]})
    assert read_compared(tmp_path) == ["a", "b"]
