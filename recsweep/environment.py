"""The process and the machine of a run: backend, threads, versions, commit."""

import atexit
import ctypes
import gc
import hashlib
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import threadpoolctl

from recsweep import __version__
from recsweep.errors import InputError
from recsweep.guarded_import import guard_keras, without_remarks
from recsweep.messages import one_line, shorten

PACKAGES = (
    "cmaes", "hydra-core", "jax", "jaxlib", "keras", "mlflow", "numpy", "optuna",
    "pandas", "pyarrow", "scipy", "tensorflow", "torch",
)  # fmt: skip
NOT_INSTALLED = "not installed"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",  # NumPy and SciPy
    "NPROC",  # XLA on a CPU
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
DEVICE, PRECISION = "RECSWEEP_DEVICE", "RECSWEEP_PRECISION"
"""Variables with the chosen device and precision, which child processes inherit."""
QUIET = "RECSWEEP_QUIET"
"""Variable of a sweep without progress display, which child processes inherit."""
PLATFORM = "RECSWEEP_JAX_PLATFORMS"
"""Variable with the JAX_PLATFORMS that recsweep has set itself."""
OF_WORKERS = "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"
"""Filter of what joblib says while it cleans up after workers that were stopped."""
SHARED_MEMORY = 0.9
"""Share of a GPU's memory that all workers together reserve."""
GPU_FLAGS = ("--xla_gpu_autotune_level=0", "--xla_gpu_enable_triton_gemm=false")
"""XLA takes cuBLAS' own choice of kernels: the same in every process, and compiled in seconds.

Trying kernels out took 69 s instead of 4 s for Multi-VAE's epoch, and may choose others next time.
"""
DRIVERS = ("/dev/nvidiactl", "/dev/dxg")
"""Files of a GPU's driver: Linux, and Linux on Windows."""
ASSUMED_MEMORY = 1 << 34
"""Bytes of a device that does not report its memory."""
JAX_PRECISION = {"tf32": "tensorfloat32", "float32": "float32"}
GLIBC_SETTINGS = {
    -8: 1,  # M_ARENA_MAX: heaps
    -3: 1 << 17,  # M_MMAP_THRESHOLD, bytes: larger blocks are returned when freed
    -1: 1 << 17,  # M_TRIM_THRESHOLD, bytes: more than that at a heap's end is returned
}


def n_cores() -> int:
    """Cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_backend(
    backend: str, threads: int | None, device: str = "auto", precision: str = "tf32"
) -> None:
    """Set the backend, its threads and its device, which Keras and XLA read on first import.

    Args:
        backend: `jax` or `tensorflow`.
        threads: CPU threads; None = all cores.
        device: `auto`, `cpu` or `gpu`.
        precision: `tf32` or `float32`, for products on a device that has both.

    Raises:
        InputError: This process already runs another backend, or JAX_PLATFORMS contradicts.
    """
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.config.backend() != backend:
        raise InputError(
            f"a process can use only one backend, but backend={backend} was requested and "
            f"{loaded.config.backend()} is already in use; start a new process"
        )
    choose_for_children(backend, threads, device, precision)
    _give_freed_memory_back()


def choose_for_children(
    backend: str, threads: int | None, device: str = "auto", precision: str = "tf32"
) -> None:
    """The same for child processes, whatever backend this process uses."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ[DEVICE], os.environ[PRECISION] = device, precision
    filters = os.environ.get("PYTHONWARNINGS", "")
    if OF_WORKERS not in filters:
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [filters, OF_WORKERS]))
    _choose_platform(device)
    if device != "cpu":
        _choose_gpu_kernels()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no messages about the machine
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads or n_cores())))
    _limit_blas(threads or n_cores())


_blas_threads: list[int] = []
"""The latest limit, if there was one."""


def _limit_blas(n_threads: int) -> None:
    """Limit BLAS, if NumPy is already loaded; a limit that holds is not set again.

    Setting it would lift the lower one of a fit that runs in another thread.
    """
    if _blas_threads != [n_threads]:
        threadpoolctl.threadpool_limits(n_threads, "blas")
        _blas_threads[:] = [n_threads]


@contextmanager
def blas_restored() -> Iterator[None]:
    """Restore BLAS's threads after the block."""
    before = [*_blas_threads]
    try:
        with threadpoolctl.threadpool_limits(limits=None):
            yield
    finally:
        _blas_threads[:] = before


def _choose_platform(device: str) -> None:
    """Hide accelerators from JAX with device=cpu, and show them again with another choice."""
    given, ours = os.environ.get("JAX_PLATFORMS"), os.environ.pop(PLATFORM, None)
    if ours is not None and given == ours:
        del os.environ["JAX_PLATFORMS"]
        given = None
    if device != "cpu" or given == "cpu":
        return
    if given:
        raise InputError(
            f"device=cpu and JAX_PLATFORMS must agree, but JAX_PLATFORMS is {given}; unset it, or "
            "leave device=cpu out"
        )
    os.environ["JAX_PLATFORMS"] = os.environ[PLATFORM] = "cpu"


def _choose_gpu_kernels() -> None:
    """Set XLA's flags for GPUs where there is a driver, except those that the user has set."""
    if not any(Path(driver).exists() for driver in DRIVERS):
        return
    given = os.environ.get("XLA_FLAGS", "")
    more = [flag for flag in GPU_FLAGS if flag.partition("=")[0] not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *more]).strip()


def share_device(n_processes: int) -> None:
    """Have several processes share a GPU's memory, unless the user has set the backend's limit.

    JAX reserves an equal share, TensorFlow only what it needs.

    Args:
        n_processes: Processes that use the same GPU.
    """
    if n_processes > 1:
        share = f"{SHARED_MEMORY / n_processes:.3f}"
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", share)
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def settle_own_process() -> None:
    """What only recsweep's own processes do, not a program that calls it.

    They guard Keras before a model's module imports it, and collect garbage after 50,000 new
    objects, not 700: imports make hundreds of thousands of objects and hardly any garbage. At its
    end Python would look through all of them once more, for a second, to free what the system
    frees anyway.
    """
    guard_keras(_keep_programs)
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def _give_freed_memory_back() -> None:
    """Have glibc return freed memory: 60 MiB less at the peak, mostly from compilation.

    By default it keeps a heap per thread and, after a large block was freed, as much memory.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for parameter, value in GLIBC_SETTINGS.items():
            libc.mallopt(parameter, value)


def n_threads() -> int:
    """The chosen number of CPU threads; all cores by default."""
    return int(os.environ.get("NPROC", n_cores()))


def use_cache(folder: Path | None) -> None:
    """Cache expensive intermediate results of models in `folder`, here and in child processes."""
    os.environ.pop("RECSWEEP_CACHE", None)
    if folder is not None:
        os.environ["RECSWEEP_CACHE"] = str(folder)


def cache_folder() -> Path | None:
    """The folder set by `use_cache`; None = no cache."""
    folder = os.environ.get("RECSWEEP_CACHE")
    return Path(folder) if folder else None


def load_backend() -> None:
    """Import Keras with the chosen backend; JAX caches compiled programs.

    Raises:
        InputError: JAX finds no usable device, or Keras uses another number type.
    """
    guard_keras(_keep_programs)
    import keras  # loads the backend

    if (found := keras.config.floatx()) != "float32":
        raise InputError(
            f"Keras must compute in float32, but this process has set it to {found}; call "
            "keras.config.set_floatx('float32') first"
        )
    if keras.config.backend() == "jax":
        _refuse_absent_platform()
    with without_remarks():  # TensorFlow looks for GPUs only now
        _use_device(os.environ.get(DEVICE, "auto"))
    _use_precision(os.environ.get(PRECISION, "tf32"))


def _use_device(wanted: str) -> None:
    """Hide GPUs from TensorFlow with device=cpu; refuse a device that is not there."""
    if wanted == "cpu" and os.environ.get("KERAS_BACKEND") == "tensorflow":
        import tensorflow as tf

        with suppress(RuntimeError):  # it runs already; looked at below
            tf.config.set_visible_devices([], "GPU")
    found = device()
    if wanted == "gpu" and found == "cpu":
        raise InputError(
            f"device=gpu needs a GPU that {os.environ.get('KERAS_BACKEND')} can use, but it finds "
            "none; install recsweep's extra cuda13 or cuda12, or set device=cpu"
        )
    if wanted == "cpu" and found != "cpu":
        raise InputError(
            f"a process can use only one device, but device=cpu was requested and {found} is "
            "already in use; start a new process"
        )


def _use_precision(wanted: str) -> None:
    """Choose how a GPU multiplies float32 matrices; a CPU has one way only."""
    if device() == "cpu":
        return
    if os.environ.get("KERAS_BACKEND") == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(wanted == "tf32")
        return
    import jax

    jax.config.update("jax_default_matmul_precision", JAX_PRECISION[wanted])


def _keep_programs() -> None:
    """Set JAX's cache, if there is a cache folder; a parent's for other threads is ignored.

    It keeps every program, since a training has some twenty short ones. JAX does not write whole
    files at once: what another process still writes, or never finished, is compiled again.
    """
    if (folder := cache_folder()) is None:
        return
    folder = folder / "xla" / _machine()
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen in (None, os.environ.get("RECSWEEP_XLA")):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["RECSWEEP_XLA"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        warnings.filterwarnings("ignore", "Error reading persistent compilation cache", UserWarning)


def _refuse_absent_platform() -> None:
    """Raise a short InputError if JAX_PLATFORMS names an unavailable platform."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter without the platform's plugin
        named = os.environ.get("JAX_PLATFORMS", "not set")
        reason = one_line(error) or "no such device was found"
        raise InputError(
            f"JAX_PLATFORMS must name a platform that JAX can use here, but is {named} "
            f"({shorten(reason, 160)}); unset it, or set JAX_PLATFORMS=cpu"
        ) from error


def _machine() -> str:
    """What compiled programs depend on: the CPU model and the number of threads."""
    kind = [platform.machine(), platform.processor()]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kind += sorted({line for line in lines if line.startswith(("model name", "flags"))})
    kind += [os.environ.get(variable, "") for variable in THREAD_VARIABLES]
    return hashlib.sha256("\n".join(kind).encode()).hexdigest()[:16]


def device() -> str:
    """The backend's device, such as `cpu` or `NVIDIA H100`."""
    if os.environ.get("KERAS_BACKEND") == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.get_visible_devices("GPU")
        details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
        return str(details.get("device_name", "gpu" if gpus else "cpu"))
    import jax

    return str(jax.devices()[0].device_kind)


def device_memory() -> int | None:
    """Bytes that JAX may use on its first device; None = it does not say."""
    import jax

    return (jax.devices()[0].memory_stats() or {}).get("bytes_limit")


def precision() -> str:
    """How the backend multiplies matrices of float32: `tf32` or `float32`."""
    return "float32" if device() == "cpu" else os.environ.get(PRECISION, "tf32")


def versions() -> dict[str, str]:
    """Versions of Python, recsweep and all packages that can change a result."""
    found = {"python": sys.version.split()[0], "recsweep": __version__}
    for package in PACKAGES:
        found[package] = _version(package)
    return found


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def machine() -> str:
    """System and processor, such as `Linux x86_64 AMD EPYC 9R45`; others may round differently."""
    kind = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kind = next((ln.partition(":")[2].strip() for ln in lines if ln[:10] == "model name"), kind)
    return " ".join([platform.system(), platform.machine(), kind]).strip()


def git_state() -> dict[str, str]:
    """The state kept by `keep_git_state`, or the current one, see `_git_state`."""
    return dict(_kept_git_state) or _git_state()


def keep_git_state() -> None:
    """Ask git once: a process of a sweep runs the code that it has loaded, whatever changes."""
    _kept_git_state.update(_git_state())


_kept_git_state: dict[str, str] = {}


def _git_state() -> dict[str, str]:
    """Commit of the checkout that recsweep runs from, and whether it has uncommitted changes.

    An installed recsweep reports the current folder's repository; `unknown` without one.
    """
    package = Path(__file__).resolve().parent
    for folder in (package.parent, Path.cwd()):
        is_ours = folder != package.parent or (folder / "pyproject.toml").exists()
        commit = _git(folder, "rev-parse", "HEAD") if is_ours else None
        if commit:
            changes = _git(folder, "status", "--porcelain")
            return {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}
    return {"git.commit": "unknown", "git.dirty": "unknown"}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; it takes no lock, which a killed process would leave behind."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
