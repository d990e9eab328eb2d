"""The composition root: configuration -> objects -> one run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment, source_code
from recsweep.build import build, validate
from recsweep.credentials import without_credentials
from recsweep.errors import InputError
from recsweep.files import expand_user
from recsweep.interfaces import STRICT, HomePath, RunTracker
from recsweep.run_files import RESULTS
from recsweep.trust import Modules
from recsweep.unpack_limits import Limits, choose_limits

if TYPE_CHECKING:
    from recsweep.data.split import Split
    from recsweep.evaluation import Evaluator
    from recsweep.fitting import Listener

# The rest is imported where it is used: --help must not wait for pandas, MLflow or a backend.

Config = dict[str, Any]
DATA_STEPS = (("data", "load"), ("transform", "apply"), ("split", "split"))
"""Groups on the way from files to a split, and the method that each must have."""
FILES = ("data.path", "split.path")
"""Paths of a run's files, which may change: fingerprints tell whether the files are the same."""
PLACES = (*FILES, "data.url")
"""All that says where a run's data come from: the repeat of a run may be given another one."""
WITH_CODE = ("task", "data", "transform", "split", "metrics", "optimizer", "model")
"""Groups whose classes affect a run's result."""
OF_SWEEPS = ("search", "sweep", "sampler", "pruner", "study")
"""Parts of the configuration that do not affect a single run."""
OF_STORED = ("trust", "fetch")
"""Parts that say what the configurations of stored runs may do here."""
LIMITS = ("max_unpacked_gib", "max_compression_ratio")
"""Limits on compressed files, see `recsweep.unpack_limits`."""
OF_NOW = ("task", "tracking", "cache_dir", "debug", "hydra", *LIMITS, *OF_SWEEPS, *OF_STORED)
"""Parts that the repeat of a run takes from its own command line, not from the run."""


@dataclass(kw_only=True, config=STRICT)
class Settings:
    """The top of the configuration; groups and metrics are checked where they are built.

    Args:
        seed: Seed of the initial weights, the user order and the noise.
        backend: The backend for training and ranking.
        threads: CPU threads of the backend; None = all cores.
        device: Where it computes; `auto` = its first device.
        precision: How a GPU multiplies float32 matrices; a CPU computes in float32.
        patience: Epochs without improvement after which training stops; None = never.
        cache_dir: Folder for downloads and prepared splits; None = the user's cache folder.
        debug: Whether to show tracebacks.
        max_unpacked_gib: Largest unpacked size of a compressed file, in GiB.
        max_compression_ratio: Largest ratio of that size to the file's own.
        evaluation_batch_size: Users scored at a time.
        refit: Whether to retrain on training and validation together for the best number of epochs.
        study: Name of a sweep's study; None = derived from the model, the data and the command.
        model_name: The model's name in tables and in MLflow; None = see `model_name`.
        trust: Modules whose classes stored configurations may name.
        fetch: Whether data that a stored configuration needs may be downloaded.
    """

    seed: Annotated[int, Field(ge=0)]
    backend: Literal["jax", "tensorflow"]
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    precision: Literal["tf32", "float32"] = "tf32"
    patience: Annotated[int, Field(ge=1)] | None
    cache_dir: HomePath | None
    debug: bool
    k: Any
    objective: Any
    evaluation_batch_size: Annotated[int, Field(ge=1)]
    refit: bool
    task: Config
    data: Config
    transform: Config
    split: Config
    optimizer: Config
    model: Config
    tracking: Config
    sweep: Config
    sampler: Config
    pruner: Config
    study: Annotated[str, Field(min_length=1)] | None
    max_unpacked_gib: Annotated[float, Field(gt=0)] = Limits().max_unpacked_gib
    max_compression_ratio: Annotated[float, Field(ge=1)] = Limits().max_compression_ratio
    # defaults: older results lack these, device and precision; a model of your own may lack search
    model_name: Annotated[str, Field(min_length=1)] | None = None
    trust: Modules = Field(default_factory=list)
    fetch: bool = False
    metrics: Any = Field(default_factory=list)  # Hydra leaves an empty group out
    search: Config = Field(default_factory=dict)

    @property
    def called(self) -> str:
        """The model's name in tables and in MLflow."""
        return model_name({"model_name": self.model_name, "model": self.model})

    @property
    def cache(self) -> Path:
        """Folder for downloads and prepared splits.

        Raises:
            InputError: It is in a home folder that does not exist.
        """
        import platformdirs

        place = "~/.cache/recsweep"
        with suppress(RuntimeError):  # newer platformdirs raises if HOME is unknown
            place = str(self.cache_dir or platformdirs.user_cache_dir("recsweep"))
        found = expand_user(place)
        if str(found).startswith("~"):
            raise InputError(
                f"cache_dir must be a folder, but {found} is in a home folder that the system does "
                "not know; set cache_dir=FOLDER, or HOME=FOLDER"
            )
        return found


class Job(NamedTuple):
    """The input of a task.

    Args:
        settings: The validated top of the configuration.
        config: The whole configuration, resolved, without passwords.
        overrides: The overrides of the command line, without passwords.
        results: The folder that the task may create.
        tracker: For the task's run; None = the one that `tracking` describes.
        listeners: Called after every training epoch, see `recsweep.fitting.Listener`.
        split: The data; None = what `data`, `transform` and `split` describe.
        confirm: Called before the results are written; raises if they must not be.
    """

    settings: Settings
    config: Config
    overrides: list[str]
    results: Path
    tracker: RunTracker | None = None
    listeners: "Sequence[Listener]" = ()
    split: "Split | None" = None
    confirm: Callable[[], object] = lambda: None

    @property
    def trusted(self) -> list[str]:
        """Modules that the user trusts, and the classes that this command line names itself."""
        return [*self.settings.trust, *source_code.targets(self.config)]


def run(
    config: Config, folder: Path, overrides: list[str], tracker: RunTracker | None = None
) -> None:
    """Run the task chosen by `task=`.

    Args:
        config: The resolved configuration; see `conf/config.yaml`.
        folder: Output folder of the run.
        overrides: The overrides of the command line.
        tracker: For the task's run; None = the one that `tracking` describes.

    Raises:
        InputError: The configuration or the data cannot be used.
    """
    run_job(make_job(config, folder, overrides)._replace(tracker=tracker))


def run_job(job: Job) -> None:
    """Run a task with its input."""
    build_group(job.settings, "task", "run").run(job)


def make_job(config: Config, folder: Path, overrides: list[str]) -> Job:
    """The input of the task chosen by `task=`; see `run`."""
    settings = check_settings(config)
    config, overrides = without_credentials([config, overrides])
    return Job(settings, config, overrides, folder / RESULTS)


def check_settings(config: Config) -> Settings:
    """The settings of a configuration that the user chose; its limits become this process'."""
    settings: Settings = validate(Settings, config, "")
    choose_limits(Limits(*(getattr(settings, name) for name in LIMITS)))
    return settings


def build_group(settings: Settings, group: str, method: str) -> Any:
    """Build the object that a group of the configuration describes.

    Args:
        settings: The top of the configuration.
        group: One of its groups, such as `model`.
        method: The method that the object must have.
    """
    thing = build(getattr(settings, group), group)
    if not callable(getattr(thing, method, None)):
        raise InputError(
            f"{group}._target_ must name a class with a method {method}, but "
            f"{type(thing).__name__} has none; choose one with {group}=CHOICE"
        )
    return thing


def make_evaluator(settings: Settings) -> "Evaluator":
    """The evaluator that `k`, `metrics` and `objective` describe."""
    from recsweep.evaluation import Evaluator

    values = {name: getattr(settings, name) for name in ("k", "metrics", "objective")}
    values["batch_size"] = settings.evaluation_batch_size
    return cast("Evaluator", validate(Evaluator, values, ""))


def load_split(settings: Settings) -> "Split":
    """The split that `data`, `transform` and `split` describe, from the cache if possible."""
    from recsweep.data.prepare import prepare

    source, transform, splitter = (build_group(settings, *step) for step in DATA_STEPS)
    return prepare(source, transform, splitter, settings.cache)


def sweep_folder(settings: Settings) -> Path:
    """`sweep.folder`, where studies are; a task reads nothing else of a sweep.

    Raises:
        InputError: It is no path.
    """
    folder = settings.sweep["folder"]
    if not isinstance(folder, str | Path):
        raise InputError(
            f"sweep.folder must be a path, but is {folder}; give a folder, such as "
            "sweep.folder=sweeps, and quote a number twice"
        )
    return expand_user(folder)


def data_name(settings: Settings) -> str:
    """The data set's name in tables and in MLflow."""
    return str(settings.data.get("name", "data"))


def with_model_name(config: Config, choices: Mapping[str, Any]) -> Config:
    """The configuration with the model's name on the command line, unless it sets another.

    Args:
        config: The composed configuration.
        choices: Hydra's `runtime.choices`: group -> choice.

    Raises:
        InputError: A YAML file with settings of several groups lacks `# @package _global_`.
    """
    for group, choice in choices.items():
        nested = config.get(group)
        if isinstance(nested, Mapping) and (group in nested or group == "experiment"):
            raise InputError(
                f"a YAML file with settings of whole groups must begin with # @package _global_, "
                f"but that of {group}={choice} does not; add this line at its top"
            )
    return {**config, "model_name": config.get("model_name") or choices.get("model")}


def model_name(config: Config) -> str:
    """The model's name on the command line; by default the stem of its module.

    Args:
        config: A run's whole configuration.
    """
    target = str((config.get("model") or {}).get("_target_", "model"))
    return str(config.get("model_name") or target.split(".")[-2:][0])


def run_tags(settings: Settings, split: "Split") -> dict[str, str]:
    """Tags that identify a run and make it reproducible."""
    from recsweep.training import layout

    return {
        **environment.git_state(),
        **{f"version.{name}": number for name, number in environment.versions().items()},
        "backend": settings.backend,
        "device": environment.device(),
        "precision": environment.precision(),
        **layout.tags(),
        "machine": environment.machine(),
        **code_tags(code(settings)),
        "threads": str(settings.threads or environment.n_cores()),
        "data": data_name(settings),
        "data.fingerprint": split.data_fingerprint,
        "split.fingerprint": split.fingerprint,
    }


def code(settings: Settings) -> dict[str, str]:
    """Hashes of the code that a run depends on, see `recsweep.source_code.of_config`."""
    return source_code.of_config([getattr(settings, group) for group in WITH_CODE])


def code_tags(hashes: Mapping[str, str]) -> dict[str, str]:
    """Hashes of code under the names of a run's tags.

    Args:
        hashes: See `code`.
    """
    own = {f"code.{name}": text for name, text in hashes.items() if name != source_code.OURS}
    return {"code": hashes[source_code.OURS], **own}


def describe_sizes(settings: Settings, split: "Split") -> str:
    """One line about the size of a split."""
    n = split.profile()
    return (
        f"{data_name(settings)}: {n['n_train_interactions']:,} training interactions of "
        f"{n['n_train_users']:,} users on {n['n_items']:,} items; {n['n_valid_users']:,} users to "
        f"validate, {n['n_test_users']:,} to test"
    )


def parameters_of_run(config: Config) -> dict[str, Any]:
    """The leaves that define a single run, without settings of sweeps."""
    kept = {k: node for k, node in config.items() if k not in (*OF_SWEEPS, *OF_STORED)}
    return parameters({**kept, "metrics": list(config.get("metrics") or ())})


def parameters(node: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of the configuration by its dotted name."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    leaves = {}
    for key, value in node.items():
        leaves.update(parameters(value, f"{prefix}.{key}".strip(".")))
    return leaves
