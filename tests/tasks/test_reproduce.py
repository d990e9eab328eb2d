"""A run, repeated in a process of its own: identical where nothing differs, else it is said."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import run_command
from compiled_programs import cache_in
from small_runs import SMALL, SMALL_DATA

from recsweep.app import run
from recsweep.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
POPULARITY = ("model=popularity", *SMALL_DATA)
NETWORK = SMALL[len(SMALL_DATA) :]


class Repeated(NamedTuple):
    """What a repeat printed, the line that ended it, and what it wrote."""

    out: str
    error: str
    file: dict[str, Any]


@pytest.fixture
def train(config: Any, tmp_path: Path) -> Callable[..., Path]:
    """Trains in this process and gives the results folder."""

    def results(*overrides: str) -> Path:
        run(config("threads=1", *overrides), tmp_path / "trained", list(overrides))
        return tmp_path / "trained" / "results"

    return results


@pytest.fixture
def reproduce(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Repeated]:
    """Repeats a run."""

    def repeated(results: Path, *overrides: str) -> Repeated:
        given = [f"task.run='{results}'", *overrides]
        folder, error = tmp_path / f"repeat {len(list(tmp_path.iterdir()))}", ""
        capsys.readouterr()
        try:
            run(config("task=reproduce", *given), folder, given)
        except InputError as stop:
            error = str(stop)
            assert "\n" not in error
        file = folder / "results" / "reproduction.yaml"
        content = yaml.safe_load(file.read_text("utf-8")) if file.exists() else {}
        assert bool(content) == folder.exists(), "all files or none"
        return Repeated(capsys.readouterr().out, error, content)

    return repeated


def change(file: Path, before: str, after: str) -> None:
    """Another text at one place of a file."""
    text = file.read_text("utf-8")
    assert text.count(before) == 1, text
    file.write_text(text.replace(before, after), "utf-8")


def clicks(folder: Path) -> Path:
    """A file of 40 users with 12 of 30 items each."""
    random = np.random.default_rng(3)
    pairs = [(user, item) for user in range(40) for item in random.choice(30, 12, replace=False)]
    file = folder / "clicks.csv"
    rows = "".join(f"user{user:02d},item{item:02d}\n" for user, item in pairs)
    file.write_text(f"user,item\n{rows}", "utf-8")
    return file


# --- what is the same -----------------------------------------------------------------------------


@pytest.mark.extended
def test_where_nothing_differs_every_bit_is_the_same(train: Any, reproduce: Any) -> None:
    results = train(*POPULARITY)
    same = reproduce(results)
    assert "nothing differs: metrics must be identical\n" in same.out
    assert same.out.endswith("\nidentical: 38 metrics of 24 users, bit for bit\n")
    assert same.file == {
        "run": str(results), "verdict": "identical", "tolerance": 0.0,
        "split": same.file["split"], "best_epoch": {"was": 1, "is": 1},
        "n_epochs": {"was": 1, "is": 1}, "metrics": {}, "curves": {}, "weights": {},
        "differences": {},
    }  # fmt: skip
    assert "\nthe same: split, best epoch, 16 curves over 1 epoch, every weight\n" in same.out


def test_another_curve_and_another_weight_are_an_error_though_the_metrics_are_the_same(
    train: Any, reproduce: Any
) -> None:
    results = train(*POPULARITY)
    curves = pd.read_csv(results / "curves.csv")
    curves["train/loss"] = 1.5
    curves.to_csv(results / "curves.csv", index=False)
    with np.load(results / "model" / "weights.npz") as file:
        name, weights = file.files[0], dict(file)
    weights[name] = weights[name].copy()
    weights[name].flat[0] += 2
    np.savez(results / "model" / "weights.npz", **weights)
    other = reproduce(results)
    assert other.error == (
        "the results of the run are not reproduced: other curves and "
        "weights; check what runs do not record, such as a system library"
    )
    assert "curves   1 of 17 differ, from epoch 1 on, largest difference inf (train/loss)" in (
        other.out
    )
    assert f"in 1 number, largest difference 2 ({name})" in other.out
    assert other.file["weights"][name]["n_changed"] == 1


@pytest.mark.slow
def test_where_nothing_differs_another_bit_of_one_user_is_an_error(
    train: Any, reproduce: Any
) -> None:
    results = train(*POPULARITY)
    file = results / "test_metrics_per_user.parquet"
    metrics = pd.read_parquet(file)
    metrics.iloc[0, 0] = np.nextafter(metrics.iloc[0, 0], 2)
    metrics.to_parquet(file)
    other = reproduce(results)
    assert other.error == (
        "the results of the run are not reproduced: 1 of 32 metrics "
        "differ, largest difference 0 (test ndcg@5); check what runs do not record, such as a "
        "system library"
    )
    assert other.file["verdict"] == "not reproduced"
    assert other.file["metrics"]["test ndcg@5"]["n_users"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ("model=multivae", *NETWORK),
        ("model=multivae", "backend=tensorflow", "refit=true", *NETWORK),
        ("model=shallow_ae", "model.n_epochs=3", "model.latent_dim=8"),
        ("model=ease",),
    ],
    ids=" ".join,
)
def test_a_model_trained_in_another_process_is_the_same_to_the_last_bit(
    model: tuple[str, ...], tmp_path: Path
) -> None:
    """Both runs are processes of their own, as in a terminal."""
    line = " ".join((*model, *SMALL_DATA, "data.n_users=300"))
    first = recsweep(tmp_path, f"{line} tracking=off hydra.run.dir=first")
    assert first.returncode == 0, first.stderr
    again = recsweep(tmp_path, "task=reproduce task.run=first/results tracking=off")
    assert again.returncode == 0, again.stderr
    assert "nothing differs" in again.stdout
    assert "identical: 38 metrics of 60 users, bit for bit" in again.stdout
    assert ("epoch" in again.stderr) == ("best epoch" in again.stdout)
    (repeat,) = tmp_path.glob("outputs/*/*/results")
    weights = []
    for results in (tmp_path / "first" / "results", repeat):
        with np.load(results / "model" / "weights.npz") as file:
            weights.append(dict(file))
        assert "task" in yaml.safe_load((results / "config.yaml").read_text("utf-8"))
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name], err_msg=name)


def recsweep(
    folder: Path, line: str, source: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m recsweep LINE` with the source of some folder."""
    return subprocess.run(
        [sys.executable, "-m", "recsweep", *line.split(), f"cache_dir={cache_in(folder)}"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(source), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's, of SQLAlchemy
def test_a_tracked_run_is_repeated_by_its_id_and_as_the_latest_and_stays_the_latest(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "here"
    trained = run_command(folder, f"{' '.join(POPULARITY)} tracking=mlflow")
    assert trained.code == 0, trained.err
    (run_id,) = [ln.split()[1] for ln in trained.out.splitlines() if ln.startswith("run ")]
    for name in (run_id, "latest"):
        ended = run_command(folder, f"task=reproduce task.run={name}")
        assert ended.code == 0, ended.err
        assert ended.out.startswith(f"run       {run_id}\nnothing differs")
        assert "identical" in ended.out


# --- what differs ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_differs_is_said_before_and_forgives_a_tolerance(train: Any, reproduce: Any) -> None:
    results = train(*POPULARITY)
    numpy = np.__version__
    change(results / "environment.yaml", f"version.numpy: {numpy}", "version.numpy: 1.26.4")
    told = [
        f"differs   version.numpy: 1.26.4 → {numpy}\n",
        "metrics must be equal within 0.01, since version.numpy may change them\n",
    ]
    same = reproduce(results)
    assert all(text in same.out for text in told)
    assert same.file["verdict"] == "identical"
    assert same.file["differences"] == {"version.numpy": {"was": "1.26.4", "is": numpy}}

    summary = json.loads((results / "metrics.json").read_text("utf-8"))
    summary["test"]["mean"]["mrr@10"] += 0.005
    (results / "metrics.json").write_text(json.dumps(summary), "utf-8")
    per_user = results / "test_metrics_per_user.parquet"
    frame = pd.read_parquet(per_user)
    frame["mrr@10"] += 0.005
    frame.to_parquet(per_user)
    near = reproduce(results)
    assert near.out.endswith(
        "reproduced within 0.01: 1 of 32 metrics differ, largest difference 0.005 (test mrr@10)\n"
    )
    far = reproduce(results, "task.tolerance=0.004")
    assert far.out.index("differs ") < far.out.index("mrr ") < far.out.index("test mrr@10")
    assert far.error.endswith(
        "not reproduced within 0.004: 1 of 32 metrics differ by more, largest difference 0.005 "
        "(test mrr@10); see above what differs, or set task.tolerance"
    )


@pytest.mark.slow
def test_another_version_and_other_code_are_said(tmp_path: Path) -> None:
    """A copy of the source that calls itself another version really runs."""
    for part in ("recsweep", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / part, tmp_path / "other" / part)
    change(
        tmp_path / "other" / "recsweep" / "__init__.py", "__version__ = ", "__version__ = '9' + "
    )
    first = recsweep(tmp_path, f"{' '.join(SMALL)} tracking=off hydra.run.dir=first")
    assert first.returncode == 0, first.stderr
    line = "task=reproduce task.run=first/results tracking=off"
    again = recsweep(tmp_path, line, tmp_path / "other")
    before = again.stdout.partition("validation")[0].splitlines()
    fields = [text.split()[1] for text in before if text.startswith("differs ")]
    assert fields == ["version.recsweep:", "code:"]
    assert any("→ 9" in text for text in before)
    assert again.returncode == 0, again.stderr
    assert "identical: 32 metrics" in again.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_number_of_cores_that_threads_null_meant_is_said(
    config: Any, reproduce: Any, tmp_path: Path
) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        pytest.skip("needs two cores")
    run(config("threads=null", *SMALL), tmp_path / "trained", [])
    try:
        os.sched_setaffinity(0, {min(cores)})
        again = reproduce(tmp_path / "trained" / "results")
    finally:
        os.sched_setaffinity(0, cores)
    assert f"differs   threads: {len(cores)} → 1\n" in again.out
    assert again.file["verdict"] in ("identical", "reproduced"), again


@pytest.mark.slow
def test_one_changed_byte_of_the_data_is_said_and_refused_or_compared(
    train: Any, reproduce: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = clicks(tmp_path)
    results = train("model=popularity", "data=csv", f"data.path='{file}'", "data.value_column=null",
                    "data.min_user_interactions=1", "k=[5]")  # fmt: skip
    moved = file.rename(tmp_path / "moved.csv")
    gone = reproduce(results)
    assert f"data.path must name a file, but {file} is not there" in gone.error
    assert "identical" in reproduce(results, f"data.path='{moved}'", "k=[7]").out
    assert "uses the run's own settings: ignoring k=[7]" in caplog.text

    rows = moved.read_text("utf-8").splitlines()
    free = next(f"user00,item{i:02d}" for i in range(30) if f"user00,item{i:02d}" not in rows)
    last = max(text for text in rows if text.startswith("user00"))
    rows[rows.index(last)] = free
    moved.write_text("\n".join(rows) + "\n", "utf-8")
    other = reproduce(results, f"data.path='{moved}'")
    assert "differs   data.fingerprint: " in other.out
    assert "metrics must be" not in other.out
    assert other.error == (
        "a run must be repeated on its own data, but data.fingerprint and split.fingerprint "
        "differ; restore the original data, give data.path=…, or set task.other_data=compare"
    )
    compared = reproduce(results, f"data.path='{moved}'", "task.other_data=compare")
    assert "within 0.01, since data.fingerprint, split.fingerprint may change them" in compared.out
    assert set(compared.file["differences"]) == {"data.fingerprint", "split.fingerprint"}


# --- what cannot be repeated ----------------------------------------------------------------------


def test_what_cannot_be_repeated_is_refused_before_anything_starts(
    train: Any, reproduce: Any, config: Any, tmp_path: Path
) -> None:
    results = train(*POPULARITY)
    with pytest.raises(InputError, match=r"task\.run must name the run to repeat"):
        run(config("task=reproduce"), tmp_path / "out", [])
    assert "has no folder model" in reproduce(tmp_path / "absent").error
    for name in ("config.yaml", "metrics.json", "valid_metrics_per_user.parquet"):
        kept = (results / name).rename(tmp_path / name)
        assert f"must have a readable {name}" in reproduce(results).error
        kept.rename(results / name)
    change(results / "config.yaml", "refit: false", "refit: maybe")
    text = reproduce(results).error
    assert text.startswith(f"{results}: config.yaml cannot be used by this version: refit must be")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder with a table, on a server that takes any query."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "site").mkdir()
    rows = [[item for item in range(40) if (user * item) % 7 < 3] for user in range(80)]
    lines = [" ".join(map(str, [len(row), *row])) for row in rows]
    (tmp_path / "site" / "users.dat").write_text("\n".join(lines) + "\n")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_an_address_whose_secrets_were_not_saved_must_be_given_again(
    train: Any, reproduce: Any, site: str, tmp_path: Path
) -> None:
    url = f"{site}/users.dat?token=sesame-17"
    results = train("model=popularity", "data=citeulike", f'data.url="{url}"', "k=[10]")
    for file in ("config.yaml", "overrides.yaml"):
        assert "sesame" not in (results / file).read_text()
    assert f"url: {site}/users.dat?token=***" in (results / "config.yaml").read_text()
    elsewhere = f"cache_dir={tmp_path}/another"
    error = reproduce(results, "data=citeulike", elsewhere).error
    assert "data.url must be the whole address to download users.dat, but " in error
    assert error.endswith("give the address again with data.url='\"ADDRESS\"'")
    assert "\n" not in error
    given = ("data=citeulike", elsewhere, f'data.url="{url}"')
    unasked = reproduce(results, *given).error
    assert f"users.dat must be downloaded from {site}/users.dat?token=***, which" in unasked
    assert "add fetch=true" in unasked
    again = reproduce(results, *given, "fetch=true")
    assert again.error == ""
    assert "identical" in again.out


@pytest.mark.slow
def test_a_configuration_whose_model_has_other_settings_now_is_refused(
    train: Any, reproduce: Any
) -> None:
    results = train(*SMALL)
    change(results / "config.yaml", "  latent_dim: 8", "  width: 8")
    text = reproduce(results).error
    assert "config.yaml cannot be used by this version" in text
    assert "model.latent_dim must be given, but is missing" in text


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "key"), [("clicks.csv", "data.path"), ("truth.txt", "split.path")]
)
def test_a_missing_file_is_said_to_be_missing(
    train: Any, reproduce: Any, tmp_path: Path, name: str, key: str
) -> None:
    file = clicks(tmp_path)
    rows = file.read_text("utf-8").splitlines()
    free = [f"user00 item{i:02d}\n" for i in range(30) if f"user00,item{i:02d}" not in rows]
    (tmp_path / "truth.txt").write_text("".join(free[:3]), "utf-8")
    results = train(
        "model=popularity", "data=csv", f"data.path='{file}'", "data.value_column=null",
        "split=heldout", f"split.path='{tmp_path / 'truth.txt'}'", "split.valid_fraction=0.1",
        "k=[5]",
    )  # fmt: skip
    (tmp_path / name).rename(tmp_path / "moved")
    text = reproduce(results).error
    assert text.startswith(f"the data of {results} cannot be read: ")
    assert f"{key} " in text
    assert f"{name} is not there; give " in text
    assert "version" not in text
    again = reproduce(results, "split=heldout", f"{key}='{tmp_path / 'moved'}'")
    assert "identical" in again.out


@pytest.mark.slow
def test_a_repeat_whose_process_dies_ends_in_one_line(
    train: Any, reproduce: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = train(*POPULARITY)
    (tmp_path / "dying_model.py").write_text(
        "import os\n"
        "from recsweep.models.popularity import Popularity\n"
        "class Dying(Popularity):\n"
        "    def fit(self, train, on_epoch, seeds):\n"
        "        os._exit(7)\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    change(results / "config.yaml", "recsweep.models.popularity.Popularity", "dying_model.Dying")
    text = reproduce(results, "trust=[dying_model]").error
    assert text.startswith("the process of the repeated run ended with exit code 7")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_repeat_that_is_stopped_leaves_neither_a_process_nor_a_file(tmp_path: Path) -> None:
    first = recsweep(tmp_path, f"{' '.join(SMALL)} tracking=off hydra.run.dir=first")
    assert first.returncode == 0, first.stderr
    change(tmp_path / "first" / "results" / "config.yaml", "  n_epochs: 3", "  n_epochs: 100000")
    change(tmp_path / "first" / "results" / "config.yaml", "patience: 20", "patience: null")
    command = [sys.executable, "-m", "recsweep", "task=reproduce", "task.run=first/results",
               "tracking=off", f"cache_dir={tmp_path / 'cache'}"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("epoch ") for line in lines)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()  # ends when nobody can write to it any more
        assert process.wait(timeout=60) == 130
    assert rest.endswith("error: stopped by SIGTERM\n")
    assert not (tmp_path / "outputs").exists()
