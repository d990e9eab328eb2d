"""Readers of runs, prepared splits, studies and bundles, given damaged files."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tampering
import yaml
from contracts import composed, fitted, planted_split
from fuzz.cases import Content, all_of, changed_tree, damaged, hold
from hypothesis import strategies as st
from scored_runs import write_run, write_study
from studies import COMPLETE, PRUNED, RUNNING, add, make_study

from recsweep.build import validate
from recsweep.comparison.contenders import group_runs
from recsweep.comparison.statistics import Statistics
from recsweep.comparison.statistics import compare as compare_contenders
from recsweep.data import prepare
from recsweep.data.split import Split
from recsweep.defaults import build_choice
from recsweep.persistence import MODEL_FILES, load_model, save_model, write_checksums
from recsweep.run_files import (
    newest_comparison,
    read_curves,
    read_overrides,
    read_run_id,
    read_tags,
)
from recsweep.runs.bundle import unpack_bundle, write_bundle
from recsweep.runs.consistency import check_curves
from recsweep.runs.lookup import describe_run
from recsweep.runs.records import page_note, run_record
from recsweep.runs.scored_run import read_run, read_study, replicates_of
from recsweep.sweeps.study.catalog import StudyCatalog

pytestmark = pytest.mark.fuzz

USERS = {"ndcg@10": [0.5, 0.25, 0.0], "recall@10": [1.0, 0.5, 0.0]}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of warnings about odd files would hide the one that matters."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def parsed(file: Path) -> Any:
    """The content of a YAML or JSON file."""
    return yaml.safe_load(file.read_text("utf-8"))


def as_bytes(file: Path, tree: Any) -> bytes:
    text = json.dumps(tree) if file.suffix == ".json" else yaml.safe_dump(tree)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def other_frames(draw: st.DrawFn) -> bytes:
    """A table of metrics per user with other columns, values and users."""
    names = draw(
        st.lists(st.sampled_from(["ndcg@10", "recall@10", "x", "ndcg@10 head"]), max_size=3)
    )
    kinds = st.sampled_from([
        [0.5, 0.25, 0.0], [1, 2, 3], ["a", "b", "c"], [None] * 3, [[1], [2], [3]],
        [True, False, True], [float("nan")] * 3,
    ])  # fmt: skip
    index = draw(st.sampled_from([list("abc"), list("aab"), [1, 2, 3], [0.5, 1.5, 2.5]]))
    out = BytesIO()
    frame = pd.DataFrame({name: draw(kinds) for name in names}, index)
    frame.iloc[: draw(st.integers(0, 3))].to_parquet(out)
    return out.getvalue()


def changed_files(folder: Path, names: Sequence[str]) -> st.SearchStrategy[tuple[str, bytes]]:
    """One of a folder's files with other content, damaged or changed in its values."""

    def of(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        file = folder / name
        content = damaged(file.read_bytes())
        if file.suffix in (".yaml", ".json"):
            trees = changed_tree(parsed(file)).map(lambda tree: as_bytes(file, tree))
            content = content | trees | trees
        elif file.suffix == ".parquet":
            content = content | other_frames()
        return st.tuples(st.just(name), content)

    return st.sampled_from(names).flatmap(of)


def restored(folder: Path, original: Path, case: tuple[str, bytes]) -> Path:
    """A copy of the original folder with one file changed."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    (folder / case[0]).write_bytes(case[1])
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_run_with_a_damaged_file_is_read_or_refused(tmp_path: Path) -> None:
    original = write_run(tmp_path / "original", "ease", USERS, objective="ndcg@10")
    curves = "epoch,valid/ndcg@10,valid/recall@10,epoch_s,evaluate_s\n1,0.25,0.5,1.0,0.5\n"
    (original / "curves.csv").write_text(curves, "utf-8")
    other = read_run(write_run(tmp_path / "other", "popularity", USERS), "other")
    usual = {
        "metrics": None, "unit": "users", "test": "wilcoxon", "confidence": 0.95,
        "n_resamples": 100, "seed": 1,
    }  # fmt: skip
    known = {name: usual[name] for name in Statistics.__dataclass_fields__ if name in usual}

    def compared(folder: Path) -> None:
        compare_contenders(
            group_runs([read_run(folder, "r"), other]), validate(Statistics, known, "task")
        )

    def read(case: tuple[str, bytes]) -> None:
        folder = restored(tmp_path / "run", original, case)
        all_of([
            lambda: read_run(folder, "r"), lambda: run_record(folder, {}, "r", "x"),
            lambda: describe_run(folder), lambda: page_note(folder), lambda: read_tags(folder),
            lambda: read_overrides(folder), lambda: read_run_id(folder),
            lambda: read_curves(folder), lambda: check_curves(folder), lambda: compared(folder),
        ])  # fmt: skip

    hold(changed_files(original, files_of(original)), read, 400, tmp_path / "run")


def test_a_study_with_a_damaged_summary_is_read_or_refused(tmp_path: Path) -> None:
    original = write_study(tmp_path / "original" / "s", "ease", [[0.5, 0.25], [0.5, 0.0]])
    beside = tmp_path / "run" / "comparison-x" / "studies.yaml"

    def read(case: tuple[str, bytes]) -> None:
        folder = restored(tmp_path / "run" / "s", original, case)
        beside.parent.mkdir(exist_ok=True)
        beside.write_bytes(case[1])
        all_of([
            lambda: read_study(folder), lambda: replicates_of(folder),
            lambda: newest_comparison(folder),
        ])  # fmt: skip

    names = ["results/optimization_results.yaml"]
    hold(changed_files(original, names), read, 200, tmp_path / "run")


@st.composite
def other_weights(draw: st.DrawFn, weights: dict[str, np.ndarray]) -> bytes:
    """Arrays of other shapes and types, some gone, some pickled."""
    arrays = dict(weights)
    for name in draw(st.lists(st.sampled_from(sorted(arrays)), max_size=2, unique=True)):
        array = arrays.pop(name)
        change = draw(st.sampled_from(["gone", "shape", "type", "cut", "renamed", "half", "text"]))
        changed = {
            "shape": array[None], "type": array.astype(str),
            "cut": array[:1] if array.ndim else array,
            "half": array.astype(np.float16) if array.dtype.kind in "iuf" else array,
            "text": np.array(["a"]), "renamed": array,
        }  # fmt: skip
        if change in changed:
            arrays[name + "x" * (change == "renamed")] = changed[change]
    if draw(st.integers(0, 8)) == 0:
        arrays["pickled"] = np.array([{}], dtype=object)
    out = BytesIO()
    np.savez(out, **arrays)
    return Content(out.getvalue())


@pytest.fixture(scope="module")
def split() -> Split:
    return planted_split()


def test_a_prepared_split_that_is_damaged_is_read_or_made_again(
    split: Split, tmp_path: Path
) -> None:
    arrays = prepare._arrays(split)
    file = tmp_path / "split.npz"
    np.savez(file, **arrays)

    def read(content: bytes) -> None:
        file.write_bytes(content)
        found = prepare._loaded(file)
        assert found is None or found.fingerprint == split.fingerprint

    hold(damaged(file.read_bytes()) | other_weights(arrays), read, 150, tmp_path)


@pytest.mark.parametrize("name", ["ease", "item_knn", "ials"])
def test_a_damaged_model_is_read_or_refused(name: str, split: Split, tmp_path: Path) -> None:
    spec = dict(composed(f"model={name}")["model"])
    save_model(fitted(spec, split.train), spec, split.item_ids, tmp_path / "original")
    weights = tampering.state_of(tmp_path / "original")

    def read(case: tuple[str, bytes]) -> None:
        folder = restored(tmp_path / "model", tmp_path / "original", case)
        write_checksums(folder)
        model, item_ids = load_model(folder)
        assert np.shape(model.score(split.test.history[:2])) == (2, len(item_ids))

    cases = changed_files(tmp_path / "original", MODEL_FILES)
    arrays = other_weights(weights).map(lambda content: ("weights.npz", content))
    hold(cases | arrays, read, 150, tmp_path / "model")


def records_of(journal: bytes) -> list[Any]:
    return [json.loads(line) for line in journal.splitlines()]


@st.composite
def other_journals(draw: st.DrawFn, journal: bytes) -> bytes:
    """A journal in which records are changed, lost, repeated or in another order."""
    records = records_of(journal)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(records) - 1)) if records else 0
        change = draw(st.sampled_from(["value", "value", "lost", "repeated", "swapped"]))
        if not records:
            break
        if change == "value":
            records[at] = draw(changed_tree(records[at]))
        elif change == "lost":
            del records[at]
        elif change == "repeated":
            records.insert(draw(st.integers(0, len(records))), records[at])
        else:
            records.insert(0, records.pop(at))
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def filled_study(folder: Path, url: str | None = None) -> None:
    study = make_study(folder, url=url)
    add(study, COMPLETE, [0.5], reported={1: 0.25, 2: 0.5})
    add(study, PRUNED, [0.25], beta=0.7)
    add(study, RUNNING)


def test_a_damaged_journal_is_read_or_refused(tmp_path: Path) -> None:
    filled_study(tmp_path / "original" / "s")
    journal = (tmp_path / "original" / "s" / "journal.log").read_bytes()
    file = tmp_path / "studies" / "s" / "journal.log"
    file.parent.mkdir(parents=True)
    studies = StudyCatalog.of({"storage": None, "folder": str(tmp_path / "studies")})

    def read(content: bytes) -> None:
        file.write_bytes(content)
        assert studies.names == ["s"]
        studies.load("s")

    hold(damaged(journal) | other_journals(journal), read, 250, tmp_path / "studies")


def test_a_damaged_bundle_is_unpacked_or_refused(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"r{n}", "ease", USERS) for n in range(2)]
    original, target = tmp_path / "bundle.zip", tmp_path / "unpacked"
    with original.open("xb") as out:
        write_bundle({"ease": runs}, out, with_models=False)

    def read(content: bytes) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        file = tmp_path / "damaged.zip"
        file.write_bytes(content)
        for folder in unpack_bundle(file, target)["ease"]:
            read_run(folder, "r")

    read(original.read_bytes())
    hold(damaged(original.read_bytes()), read, 150, target)


def test_a_choice_that_is_not_there_is_refused(tmp_path: Path) -> None:
    hold(st.text(max_size=8), lambda name: build_choice("metrics", name), 100, tmp_path)
