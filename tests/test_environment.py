"""Backend, threads, versions and commit of a run."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import threadpoolctl

from recsweep import __version__, environment
from recsweep.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _same_environment_afterwards() -> object:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_every_library_is_told_the_number_of_threads() -> None:
    environment.choose_backend(os.environ["KERAS_BACKEND"], 3)
    assert {os.environ[name] for name in environment.THREAD_VARIABLES} == {"3"}
    environment.choose_backend(os.environ["KERAS_BACKEND"], None)
    assert {os.environ[name] for name in environment.THREAD_VARIABLES} == {
        str(environment.n_cores())
    }


def test_models_hear_how_many_threads_were_chosen() -> None:
    environment.choose_backend(os.environ["KERAS_BACKEND"], 3)
    assert environment.n_threads() == 3
    del os.environ["NPROC"]
    assert environment.n_threads() == environment.n_cores()


def test_models_hear_of_the_cache_folder_or_that_there_is_none(tmp_path: Path) -> None:
    environment.use_cache(tmp_path)
    assert environment.cache_folder() == tmp_path
    environment.use_cache(None)
    assert environment.cache_folder() is None


def test_a_process_keeps_its_backend() -> None:
    import keras

    running = keras.config.backend()
    other = "tensorflow" if running == "jax" else "jax"
    with pytest.raises(InputError, match=f"{running} is already in use; start a new process"):
        environment.choose_backend(other, None)


def test_the_versions_are_those_that_are_installed() -> None:
    found = environment.versions()
    assert found["recsweep"] == __version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    for package in ("jax", "jaxlib", "keras", "numpy", "optuna", "pandas", "pyarrow", "scipy"):
        assert found[package] == version(package)
    assert {"cmaes", "mlflow", "tensorflow", "torch"} <= found.keys()


def test_a_library_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-library",))
    assert environment.versions()["no-such-library"] == "not installed"


def test_the_commit_is_that_of_the_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    head = subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "HEAD"], text=True)
    state = environment.git_state()
    assert state["git.commit"] == head.strip()
    changes = subprocess.check_output(["git", "-C", str(ROOT), "status", "--porcelain"])
    assert state["git.dirty"] == str(bool(changes)).lower()


def test_a_folder_without_repository_has_no_commit(tmp_path: Path) -> None:
    assert environment._git(tmp_path, "rev-parse", "HEAD") is None
    assert environment._git(tmp_path / "gone", "status") is None


def test_a_repository_is_only_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    for line in ("init", "add file", "-c user.name=a -c user.email=a@b commit -m text"):
        subprocess.run(["git", "-C", str(tmp_path), *line.split()], check=True, capture_output=True)
    os.utime(tmp_path / "file", (1, 1))  # git would write the new time into its index
    before = (tmp_path / ".git" / "index").read_bytes()
    assert environment._git(tmp_path, "status", "--porcelain") == ""
    assert (tmp_path / ".git" / "index").read_bytes() == before


@pytest.mark.extended
def test_a_command_looks_for_garbage_rarely_and_not_at_its_end(tmp_path: Path) -> None:
    code = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 10_000))
from recsweep.__main__ import main
sys.argv[1:] = ["--version"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "50000 True"


def test_the_device_is_named() -> None:
    assert environment.device()


@pytest.mark.extended
def test_every_compiled_program_is_found_again_by_the_next_process(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from recsweep import environment
environment.choose_backend("jax", int(sys.argv[1]))
environment.use_cache(Path("cache"))
environment.load_backend()
import jax
print(jax.jit(lambda x: (x + x) @ x.T)(jax.numpy.eye(3))[0, 0])
"""
    inherited = {  # but for what another test may have set
        name: value for name, value in os.environ.items()
        if not name.startswith(("JAX_COMPILATION_", "JAX_PERSISTENT_"))
    }  # fmt: skip

    def run(threads: int, **changes: str) -> set[Path]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(threads)], cwd=tmp_path, check=True,
            env={**inherited, "PYTHONPATH": str(ROOT), **changes},
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("2.0\n", "")
        return set((tmp_path / "cache" / "xla").glob("*/*-cache"))

    first = run(1)
    assert any("lambda" in file.name for file in first)  # compiled within milliseconds
    for file in first:
        file.write_bytes(file.read_bytes()[:-20])  # as a process leaves it that is killed
    assert run(1) == first
    parents = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "RECSWEEP_XLA": str(tmp_path)}
    both = run(2, **parents)  # what a parent has chosen for its own threads does not count
    assert len({path.parent for path in both}) == 2  # other threads, other programs


def run_in_a_process(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Python with another environment; `load_backend` needs a process without Keras."""
    return subprocess.run(
        [sys.executable, "-c", f"from recsweep import environment\n{code}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", **changes},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_process_that_computes_in_other_numbers_is_refused() -> None:
    import keras

    keras.config.set_floatx("float16")
    try:
        with pytest.raises(InputError, match=r"float32, but this process has set it to float16"):
            environment.load_backend()
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("platform", [pytest.param("cuda", marks=pytest.mark.extended), "nonsense"])
def test_a_platform_that_is_not_here_is_one_line(platform: str) -> None:
    code = """
try:
    environment.load_backend()
except environment.InputError as error:
    print(error)
"""
    done = run_in_a_process(code, JAX_PLATFORMS=platform, CUDA_VISIBLE_DEVICES="")
    assert done.stdout.count("\n") == 1, done
    assert f"that JAX can use here, but is {platform} (" in done.stdout
    assert done.stdout.endswith("; unset it, or set JAX_PLATFORMS=cpu\n")


# --- devices ------------------------------------------------------------------------------------

BACKEND = os.environ["KERAS_BACKEND"]


def test_a_chosen_cpu_hides_every_other_platform_until_another_choice() -> None:
    os.environ.pop("JAX_PLATFORMS", None)
    environment.choose_backend(BACKEND, None, "cpu")
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    environment.choose_backend(BACKEND, None, "auto")
    assert "JAX_PLATFORMS" not in os.environ


def test_platforms_that_the_user_has_set_stay() -> None:
    for given in ("cpu", "cuda,cpu"):
        os.environ["JAX_PLATFORMS"] = given
        environment.choose_backend(BACKEND, None, "auto")
        environment.choose_backend(BACKEND, None, "gpu")
        assert os.environ["JAX_PLATFORMS"] == given
    with pytest.raises(InputError, match=r"must agree, but JAX_PLATFORMS is cuda,cpu; unset it"):
        environment.choose_backend(BACKEND, None, "cpu")
    os.environ["JAX_PLATFORMS"] = "cpu"
    environment.choose_backend(BACKEND, None, "cpu")
    environment.choose_backend(BACKEND, None, "auto")
    assert os.environ["JAX_PLATFORMS"] == "cpu"


def test_a_missing_gpu_is_one_line() -> None:
    environment.choose_backend(BACKEND, None, "gpu")
    with pytest.raises(InputError, match=r"device=gpu needs a GPU .*; install .* extra cuda"):
        environment.load_backend()


def test_a_device_that_is_in_use_already_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.choose_backend(BACKEND, None, "cpu")
    monkeypatch.setattr(environment, "device", lambda: "NVIDIA H100")
    with pytest.raises(
        InputError, match=r"a process can use only one device, but device=cpu .* H100"
    ):
        environment.load_backend()


def test_a_cpu_computes_in_float32_whatever_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.choose_backend(BACKEND, None, "auto", "tf32")
    assert environment.precision() == "float32"
    monkeypatch.setattr(environment, "device", lambda: "NVIDIA H100")
    assert environment.precision() == "tf32"


def test_workers_share_a_gpus_memory_unless_the_user_has_divided_it() -> None:
    name = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    for variable in (name, "TF_FORCE_GPU_ALLOW_GROWTH"):  # TensorFlow sets the latter itself
        os.environ.pop(variable, None)
    for n_processes in (0, 1):  # 0 = no GPU
        environment.share_device(n_processes)
        assert name not in os.environ
        assert "TF_FORCE_GPU_ALLOW_GROWTH" not in os.environ
    environment.share_device(3)
    assert os.environ[name] == "0.300"
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    environment.share_device(2)
    assert os.environ[name] == "0.300"


def blas_threads() -> set[int]:
    return {
        each["num_threads"]
        for each in threadpoolctl.threadpool_info()
        if each["user_api"] == "blas"
    }


def test_a_choice_of_threads_that_holds_does_not_lift_the_limit_of_a_fit() -> None:
    with environment.blas_restored():
        environment.choose_for_children("jax", 2)
        with threadpoolctl.threadpool_limits(1, "blas"):
            environment.choose_for_children("jax", 2)
            assert blas_threads() == {1}
        environment.choose_for_children("jax", 1)
        assert blas_threads() == {1}
        environment.choose_for_children("jax", 2)
        assert blas_threads() == {2}
