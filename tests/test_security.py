"""docs/security.md: each cell of its table by an attack on it, and where its servers listen."""

import ast
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from commands import run_command
from compiled_programs import cache_in
from contracts import composed
from mlflow_runs import ROOT
from ports import free_port
from small_runs import SMALL_DATA
from studies import COMPLETE, SPACE, add, make_study

from recsweep.app import run
from recsweep.build import build
from recsweep.data import prepare
from recsweep.errors import InputError
from recsweep.persistence import write_checksums
from recsweep.seeds import Seeds
from recsweep.sweeps.sampling.samplers import Turn
from recsweep.sweeps.storage.backends import open_storage

PAGE = ROOT / "docs" / "security.md"
RUN = f"model=popularity {' '.join(SMALL_DATA)}"


def cells() -> dict[tuple[str, str], str]:
    """(place, outcome) -> what the page says."""
    table = PAGE.read_text(encoding="utf-8").split("| who can write to", 1)[1].split("\n\n", 1)[0]
    lines = [line.strip("| ").split("|") for line in table.splitlines()[2:]]
    return {
        (re.sub("^(a|the) ", "", place.strip()), outcome): cell.strip()
        for place, *found in lines
        for outcome, cell in zip(["code", "files", "results"], found, strict=True)
    }


class Trap:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return Path.touch, (self.sign,)


def trained(folder: Path, line: str = RUN) -> Path:
    """The results folder of a small run."""
    ended = run_command(folder / "here", f"{line} tracking=off hydra.run.dir=out")
    assert ended.code == 0, ended.err
    return folder / "here" / "out" / "results"


def recommend(folder: Path, results: Path) -> None:
    """`task=recommend` with the folder's own cache."""
    output = f"task.output={folder / 'lists.csv'}"
    line = ("task=recommend", f"task.run={results}", "k=[5]", output, "task.overwrite=true")
    config = dict(composed(*line))
    config["cache_dir"] = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with suppress(InputError):  # an attack may be refused
            run(config, folder / "again", [])


# --- attacks: each returns whether it succeeded ---------------------------------------------------


def results_run_code(folder: Path) -> bool:
    """A class is named in the task, and then instead of the model."""
    results, sign = trained(folder), folder / "sign"
    recommend(folder, results)
    assert (folder / "lists.csv").exists()  # without the trap it goes through
    (folder / "here" / "trap_of_results.py").write_text(f"open({str(sign)!r}, 'w')\n")
    spec = {"_target_": "trap_of_results.Model"}
    config = yaml.safe_load((results / "config.yaml").read_text())
    task = {"_target_": "recsweep.tasks.train.Train", "extra": spec}
    (results / "config.yaml").write_text(yaml.safe_dump({**config, "task": task}))
    again = run_command(folder / "here", f"task=reproduce task.run={results}")
    assert again.code == 0, again.err  # its task is not used at all
    (results / "config.yaml").write_text(yaml.safe_dump({**config, "model": spec}))
    (results / "model" / "model.yaml").write_text(yaml.safe_dump(spec))
    write_checksums(results / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "here")
        recommend(folder, results)
    return sign.exists()


def results_write_files(folder: Path) -> bool:
    results, elsewhere = trained(folder), folder / "elsewhere"
    config = yaml.safe_load((results / "config.yaml").read_text())
    config["cache_dir"] = str(elsewhere)
    (results / "config.yaml").write_text(yaml.safe_dump(config))
    recommend(folder, results)
    assert (folder / "lists.csv").exists()  # nothing else was refused
    return elsewhere.exists()


def results_change(folder: Path) -> bool:
    """Scores of the test are doubled in all files that have them."""
    results = trained(folder)
    file = results / "metrics.json"
    found = json.loads(file.read_text())
    for kind in ("mean", "standard_error"):
        found["test"][kind] = {n: v and 2 * v for n, v in found["test"][kind].items()}
    file.write_text(json.dumps(found))
    users = results / "test_metrics_per_user.parquet"
    (2 * pd.read_parquet(users)).to_parquet(users)
    other = trained(folder / "other", RUN.replace("popularity", "ease"))
    line = f"task=compare 'task.of=[{results},{other}]' tracking=off hydra.run.dir=compared"
    return run_command(folder / "here", line).code == 0


def studies_run_code(folder: Path, url: str | None = None) -> bool:
    """A pickle stands where the sampler keeps its state."""
    pytest.importorskip("cmaes", reason="the extra cmaes is not installed")
    study, sign = make_study(folder / "vae", url=url), folder / "sign"
    state = {"cma:optimizer:0": pickle.dumps(Trap(sign)).hex(), "cma:generation": 0}
    told = add(study, COMPLETE, [0.5], beta=0.5)
    study.add_trial(
        optuna.create_trial(
            values=[0.6], params=told.params, distributions=told.distributions, system_attrs=state
        )
    )
    sampler = build(composed("sampler=cmaes", "sampler.n_startup_trials=1")["sampler"], "sampler")
    study.sampler = sampler.make(Turn(SPACE, 1, Seeds(1), 2))
    with suppress(AttributeError, TypeError, ValueError):  # what it made is no optimizer
        SPACE.suggest(study.ask())
    return sign.exists()


def studies_write_files(folder: Path, url: str | None = None) -> bool:
    """A stored trial names a folder that is no searched setting."""
    study = make_study(folder / "vae", url=url)
    stored = add(study, COMPLETE, [0.5]).user_attrs["settings"]
    try:
        config = SPACE.config({**stored, "cache_dir": "/elsewhere", "model.path": "/elsewhere"})
    except InputError:
        return False
    return "/elsewhere" in str(config)


def linked_studies_write_files(folder: Path) -> bool:
    """A study's files are links to the user's, and a stored trial names another folder."""
    mine, content = folder / "mine", "my last line has no end"
    mine.write_text(content)
    sweep = f"-m {RUN} study=vae sweep.n_trials=1 sweep.final_seeds=0 hydra/launcher=basic"
    for name in ("journal.log", "locks/mutex", "trials/0000/log.txt", "trials/0000/config.yaml"):
        link = folder / "here" / "sweeps" / "vae" / name
        link.parent.mkdir(parents=True)
        link.symlink_to(mine)
        for line in (sweep, "task=studies", "task=best study=vae", "task=upload task.run=vae"):
            ended = run_command(folder / "here", f"{line} tracking=off")
            assert "a link" in ended.err + ended.out or line != sweep, ended
        shutil.rmtree(folder / "here" / "sweeps")
    return mine.read_text() != content or studies_write_files(folder)


def studies_change(folder: Path, url: str | None = None) -> bool:
    """A trial that nobody ran is better than all others."""
    study = make_study(folder / "vae", url=url)
    add(study, COMPLETE, [0.5], beta=0.5)
    add(study, COMPLETE, [0.99], beta=0.9)
    again = optuna.load_study(study_name="vae", storage=open_storage(url, folder / "vae"))
    return bool(again.best_value == 0.99)


def in_database(attack: Callable[[Path, str], bool]) -> Callable[[Path], bool]:
    return lambda folder: attack(folder, f"sqlite:///{folder}/studies.db")


def registered_code_runs(folder: Path) -> bool:
    """A stranger's file in a model of the registry, loaded as every MLflow model is."""
    import mlflow

    sign = folder / "sign"
    (folder / "stranger.py").write_text(
        f"open({str(sign)!r}, 'w')\n"
        "from mlflow.models import set_model\n"
        "from mlflow.pyfunc import PythonModel\n"
        "class Stranger(PythonModel):\n"
        "    def predict(self, model_input):\n"
        "        return model_input\n"
        "set_model(Stranger())\n"
    )
    mlflow.pyfunc.save_model(folder / "model", python_model=folder / "stranger.py")
    sign.unlink(missing_ok=True)  # saving runs it, too
    mlflow.pyfunc.load_model(str(folder / "model"))
    return sign.exists()


def data_run_code(folder: Path) -> bool:
    """A pickle under the name of each format."""
    sign = folder / "sign"
    for name in ("clicks.csv", "clicks.parquet", "clicks.feather", "clicks.orc", "clicks.npz"):
        (folder / name).write_bytes(pickle.dumps(Trap(sign)))
        line = f"model=popularity data=csv data.path={folder / name} tracking=off"
        assert run_command(folder / "here", line).code == 1
    return sign.exists()


def data_change(folder: Path) -> bool:
    rows = [(user, item) for user in range(60) for item in range(20) if (user * item) % 7 < 3]
    seen = []
    for n_rows in (len(rows), len(rows) - 1):
        table = pd.DataFrame(rows[:n_rows], columns=["user", "item"])
        table.to_csv(folder / "clicks.csv", index=False)
        place = f"{folder}/clicks.csv data.value_column=null hydra.run.dir=of{n_rows}"
        line = f"model=popularity data=csv 'k=[5]' tracking=off data.path={place}"
        assert run_command(folder / "here", line).code == 0
        results = folder / "here" / f"of{n_rows}" / "results"
        seen.append(yaml.safe_load((results / "environment.yaml").read_text())["data.fingerprint"])
    return seen[0] != seen[1]


def prepared(folder: Path) -> Path:
    """The cached split of a run that is done."""
    trained(folder)
    (file,) = cache_in(folder).glob("splits/*.npz")
    return file


def cache_runs_code(folder: Path) -> bool:
    file, sign = prepared(folder), folder / "sign"
    with np.load(file) as members:
        arrays = dict(members)
    np.savez(file, **{**arrays, "fingerprints": np.array([Trap(sign)], object)})
    trained_again(folder)
    return sign.exists()


def cache_writes_files(folder: Path) -> bool:
    file, victim = prepared(folder), folder / "victim"
    victim.write_text("mine")
    file.unlink()
    file.symlink_to(victim)
    trained_again(folder)
    return victim.read_text() != "mine"


def cache_change(folder: Path) -> bool:
    """Every value of training is doubled, and the file's fingerprint is that of its content."""
    file = prepared(folder)
    with np.load(file) as members:
        arrays = dict(members)
    arrays["train.data"] = arrays["train.data"] * 2
    data_fingerprint = str(arrays["fingerprints"][0])
    forged = prepare._split(arrays, data_fingerprint).fingerprint
    arrays["fingerprints"] = np.array([data_fingerprint, forged])
    np.savez(file, **arrays)
    return trained_again(folder) == forged


def trained_again(folder: Path) -> str:
    """The split's fingerprint of another run."""
    line = f"{RUN} tracking=off hydra.run.dir=again"
    assert run_command(folder / "here", line).code == 0
    split = folder / "here" / "again" / "results" / "split.yaml"
    return str(yaml.safe_load(split.read_text())["fingerprint"])


ATTACKS: dict[tuple[str, str], Callable[[Path], bool] | str] = {
    ("tracking server", "code"): registered_code_runs,
    ("tracking server", "files"): results_write_files,
    ("tracking server", "results"): results_change,
    ("database of studies", "code"): in_database(studies_run_code),
    ("database of studies", "files"): in_database(studies_write_files),
    ("database of studies", "results"): in_database(studies_change),
    ("study's folder", "code"): studies_run_code,
    ("study's folder", "files"): linked_studies_write_files,
    ("study's folder", "results"): studies_change,
    ("results folder", "code"): results_run_code,
    ("results folder", "files"): results_write_files,
    ("results folder", "results"): results_change,
    ("bundle", "code"): "tasks/test_bundle.py::test_code_of_others_is_not_imported",
    ("bundle", "files"): "runs/test_bundle.py::test_no_file_leaves_the_folder",
    ("bundle", "results"): "runs/test_bundle.py::test_one_changed_byte_names_its_row",
    ("data file", "code"): data_run_code,
    ("data file", "files"): (
        "data/test_archive.py::test_an_archive_with_one_name_that_leaves_it_is_refused"
    ),
    ("data file", "results"): data_change,
    ("cache folder", "code"): cache_runs_code,
    ("cache folder", "files"): cache_writes_files,
    ("cache folder", "results"): cache_change,
}
"""Cell -> an attack that returns whether it succeeds, or a test elsewhere of one that fails."""


def test_each_cell_of_the_table_has_its_attack() -> None:
    assert list(cells()) == list(ATTACKS)
    assert all(re.match("(yes|no): .", cell) for cell in cells().values())


@pytest.mark.parametrize(
    "cell", [c for c, a in ATTACKS.items() if isinstance(a, str)], ids="-".join
)
def test_an_attack_that_is_tested_elsewhere_is_refused_there(cell: tuple[str, str]) -> None:
    file, _, name = str(ATTACKS[cell]).partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert cells()[cell].startswith("no: ")


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # MLflow's
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "cell", [c for c, a in ATTACKS.items() if not isinstance(a, str)], ids="-".join
)
def test_a_cell_says_whether_its_attack_succeeds(cell: tuple[str, str], tmp_path: Path) -> None:
    attack: Any = ATTACKS[cell]
    assert cells()[cell].startswith("yes: " if attack(tmp_path) else "no: ")


# --- servers --------------------------------------------------------------------------------------


def reached(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


@pytest.mark.extended
@pytest.mark.skipif(sys.platform != "linux", reason="needs more than one address of loopback")
@pytest.mark.parametrize("task", ["ui", "dashboard study=vae"])
def test_a_server_of_ours_listens_on_one_address_of_loopback(task: str, tmp_path: Path) -> None:
    """A server on all addresses would answer on 127.0.0.2, too."""
    make_study(tmp_path / "sweeps" / "vae")
    assert run_command(tmp_path, f"{RUN} hydra.run.dir=out").code == 0
    port = free_port()
    command = [sys.executable, "-m", "recsweep", *f"task={task}".split(), f"task.port={port}"]
    with subprocess.Popen(
        [*command, "task.browser=false"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(f"http://127.0.0.1:{port}/")
            assert [reached(host, port) for host in ("127.0.0.1", "127.0.0.2", "::1")] == [
                True, False, False,
            ]  # fmt: skip
        finally:
            process.send_signal(signal.SIGINT)


def test_only_containers_listen_on_all_addresses_and_docs_name_one_with_a_warning() -> None:
    files = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.yaml"), ROOT / "README.md",
             ROOT / "docker-compose.yml", ROOT / "Dockerfile",
             *(f for f in (ROOT / "benchmarks").glob("*") if f.suffix != ".png"),
             *(ROOT / "recsweep").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]  # fmt: skip
    everywhere = re.compile(r"0\.0\.0\.0(?!/)|listen_addresses\s*=\s*'\*'|--host[ =]['\"]?(\*|::)")
    found = {f.name for f in files if f.is_file() and everywhere.search(f.read_text("utf-8"))}
    assert found == {"docker-compose.yml"}
    for service in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    clusters = (ROOT / "docs" / "clusters.md").read_text("utf-8")
    assert "--host 10.0.0.5" in clusters
    assert "[does not ask for a password](security.md#servers)" in clusters
