"""Data at the edge, through the real command: a right result, or one line that says why not."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import assert_refused, run_command
from mlflow_runs import ROOT
from small_runs import metrics

from recsweep.defaults import conf_folder

MODELS = sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml"))
QUICK = {"popularity", "ease"}
SPLITS = ["weak", "strong", "kfold", "leave_last_out", "temporal"]
N_USERS, N_ITEMS = 30, 10
TINY = {
    "n_epochs": 2, "latent_dim": 4, "hidden_dims": "[4]", "hidden_dim": 4, "batch_size": 10,
    "beta_warmup_steps": 0,
}  # fmt: skip
LARGE = 10_000_000


def clicks(folder: Path, pairs: list[tuple[int, int]]) -> str:
    """Options that read these pairs, in the order of time."""
    folder.mkdir(exist_ok=True)
    rows = "".join(f"u{user},i{item},{t}\n" for t, (user, item) in enumerate(pairs))
    (folder / "clicks.csv").write_text(f"user,item,t\n{rows}", "utf-8")
    return (
        f"data=csv data.path={folder}/clicks.csv data.value_column=null data.timestamp_column=t "
        "data.min_user_interactions=1 tracking=off hydra.run.dir=out"
    )


def tiny(model: str) -> str:
    """The model's settings for so little data."""
    spec = yaml.safe_load((conf_folder() / "model" / f"{model}.yaml").read_text("utf-8"))["model"]
    return " ".join(f"model.{key}={value}" for key, value in TINY.items() if key in spec)


@pytest.mark.extended
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    "pairs",
    [
        [(0, item) for item in range(12)], [(user, 0) for user in range(30)],
        [(user, user) for user in range(30)], [(0, 0), (0, 1), (1, 0), (1, 1)],
    ],
    ids=["one user", "one item", "nobody shares an item", "two by two"],
)  # fmt: skip
def test_what_cannot_be_split_is_refused_in_one_line(
    pairs: list[tuple[int, int]], split: str, tmp_path: Path
) -> None:
    line = f"model=popularity split={split} 'k=[1]' {clicks(tmp_path / 'data', pairs)}"
    ended = run_command(tmp_path / "here", line)
    assert_refused(tmp_path / "here", ended, "; ")
    assert "split" in ended.err or "validation has no users" in ended.err


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.extended) for n in MODELS],
)  # fmt: skip
def test_where_only_targets_are_unseen_every_model_ranks_perfectly(
    name: str, tmp_path: Path
) -> None:
    """Everybody has all items, so that a test list of 9 starts with the targets, whatever scores.

    A user's history at test is all but the targets. What is seen is never listed, so the first
    places are the targets', and the places after them count as misses.
    """
    options = clicks(tmp_path / "data", [(u, i) for i in range(N_ITEMS) for u in range(N_USERS)])
    line = f"model={name} {tiny(name)} split=weak 'k=[9]' {options}"
    ended = run_command(tmp_path / "here", line)
    assert ended.code == 0, ended.err
    found = metrics(tmp_path / "here" / "out")
    for metric in ("ndcg@9", "recall@9", "mrr@9", "hit_rate@9"):
        assert found["test"]["mean"][metric] == 1.0, metric
    assert found["valid"]["mean"]["recall@9"] == 1.0, "k is above the unseen items"
    assert 0 < found["valid"]["mean"]["ndcg@9"] <= 1


IDS = {
    "numbers in text": lambda n: f"{n:03d}" if n % 2 else str(n),
    "numbers": lambda n: str(10**17 + n),
    "emoji": lambda n: "🎸" * (n + 1) + "👩‍🎤",
    "10 kB": lambda n: "x" * 10_240 + str(n),
    "quotes and commas": lambda n: f'"a", {n}\'s',
}


def listed(folder: Path) -> list[list[str]]:
    """The rows of the lists that a run's model gives everybody."""
    line = f"task=recommend task.run=out/results task.output=lists.csv 'k=[{N_ITEMS}]' tracking=off"
    ended = run_command(folder, line)
    assert ended.code == 0, ended.err
    with (folder / "lists.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_any_kind_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    """User u has the items up to 30 − u, so that the first 22 have all of the 10."""
    write, data = IDS[kind], tmp_path / "clicks.csv"
    with data.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["user", "item"])
        pairs = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if u + i <= N_USERS]
        out.writerows([write(user), write(item)] for user, item in pairs)
    options = f"data=csv data.path={data} data.value_column=null data.min_user_interactions=1"
    line = f"model=popularity split=kfold split.n_folds=3 split.target_fraction=0.9 {options}"
    ended = run_command(tmp_path / "here", f"{line} 'k=[4]' tracking=off hydra.run.dir=out")
    assert ended.code == 0, ended.err
    found: dict[str, list[str]] = {}
    for user, _, item, *_ in listed(tmp_path / "here"):
        found.setdefault(user, []).append(item)
    file = tmp_path / "here" / "out" / "results" / "test_metrics_per_user.parquet"
    of_test = {str(user) for user in pd.read_parquet(file).index}
    assert len(of_test) == N_USERS // 3
    for user in range(N_USERS):
        unseen = {write(item) for item in range(N_ITEMS) if user + item > N_USERS}
        listed_items = found.get(write(user), [])
        assert len(set(listed_items)) == len(listed_items)
        if write(user) in of_test:  # what is held out of them is recommended, too
            assert set(listed_items) > unseen
        else:
            assert set(listed_items) == unseen, "k is above the unseen items"


@pytest.mark.slow
def test_ten_million_items_are_ranked_by_popularity(tmp_path: Path) -> None:
    """Reading and indexing 10 million rows took a minute of processor time and 3 GiB."""
    users = np.arange(LARGE // 100)
    liked = np.random.default_rng(0).integers(1000, size=(len(users), 20))
    rows = pd.concat(
        [
            pd.DataFrame({"user": np.repeat(users, 100), "item": np.arange(LARGE)}),
            pd.DataFrame({"user": np.repeat(users, 20), "item": liked.ravel()}),
        ]
    ).drop_duplicates()
    rows.to_parquet(tmp_path / "clicks.parquet", index=False)
    options = "data.value_column=null split.n_heldout_users=50 'k=[10]' tracking=off"
    command = f"model=popularity data=csv data.path={tmp_path}/clicks.parquet {options}".split()
    program = (
        "from recsweep.command_line import main; from recsweep.memory import peak_bytes; main(); "
        "print('GiB', peak_bytes() / 2**30)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *(word.strip("'") for word in command),
         f"cache_dir={tmp_path}/cache", "hydra.run.dir=out"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("GiB")[-1]) < 6
    results = tmp_path / "out" / "results"
    with np.load(results / "model" / "weights.npz") as weights:
        totals = weights["totals"]
    split = yaml.safe_load((results / "split.yaml").read_text())
    assert len(totals) == split["n_items"]
    ids = pd.read_parquet(results / "model" / "items.parquet")["item"].to_numpy()
    own = ids[(ids >= 1000)]
    assert (totals[np.searchsorted(ids, own)] == 1).all(), "one user has it"
    assert totals[ids < 1000].min() > 1500, "about 2,000 of 100,000 users have it"
    assert totals.sum() == split["n_train_interactions"]
