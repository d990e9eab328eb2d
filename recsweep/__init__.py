"""recsweep: hyperparameter sweeps for recommenders that learn from implicit feedback.

The Python API, see `recsweep.api`: load_config, load_interactions, load_split, fit, evaluate,
recommend, evaluate_file, sweep, load_study, compare. The command line: python -m recsweep --help.

The layers, from the outside in; a module imports only from the ones below its own. `make imports`
holds them to the contracts in pyproject.toml, which also say which layers are siblings. Settings
are in `conf/`; `hydra_plugins/` makes Hydra's `-m` use `recsweep.sweeps`.

    api              the Python API: one call per step of an experiment
    command_line     python -m recsweep: composes the configuration (Hydra)
    serving          what MLflow runs to load a registered model
    command_help     `--help`, from the YAML files and their comments
    mistakes         command-line mistakes, explained in one line each
    argument_hints   what was meant by an argument that cannot be parsed
    tasks            the choices of `task=`, one file each
    sweeps           Optuna's studies: search space, workers, resume (with Hydra's -m)
    comparison       finished runs side by side: statistics, tables, pages
    recommendations  lists of recommended items and their files
    runs             folders of runs: write, find, read, compare with a repeat
    experiment       one experiment from configuration to fitted model: a single run or a trial
    app              configuration -> objects
    report           display of a finished run: the table and the plot
    progress         progress display of a fit
    fitting          a fit in reading order: train, evaluate each epoch, keep the best, stop early
    tracking         MLflow, or nothing
    evaluation       scores -> masked top-k -> hits -> metrics per user
    models           one file per recommender
    accelerator      sparse matrices on JAX's accelerator: products and rankings
    persistence      checkpoints: fitted models on disk
    training         batches, schedules, the epoch loop, one engine per backend
    data             sources, filters, splits, download, cache
    run_files        names of the files that runs and studies write, and their readers
    defaults         YAML defaults for classes that are instantiated directly, and where `conf/` is
    learned_arrays   state of models that learn only a few arrays
    build            `_target_` -> an object, or an error that names the wrong value
    divergence       NaN and infinity in what a model learns, refused
    metrics          ranked lists in, one value per user out
    stored_files     arrays and tables that runs and caches wrote, read without trust
    interfaces       interfaces between the layers
    unpack_limits    how large a compressed file may become
    documents        YAML and JSON that others may have written, read within limits
    environment      backend, threads, versions, commit
    files            atomic writing of files and folders
    guarded_import   importing Keras without the user's settings and its optional parts
    inverse          the inverse of a large matrix
    known_keys       suggestions for unknown keys, and which keys are lists
    loopback         ports and pages of servers on this machine
    memory           how much memory is available
    seeds            one root seed, from which all other seeds are derived
    shell            commands to paste into a terminal
    source_code      hashes of the code that a result depends on
    step_lines       progress lines of a computation without epochs
    trust            what the stored configuration of a run may name
    messages         building blocks of messages and tables
    windows          what Windows answers where other systems have /proc
    credentials      addresses and texts without passwords and tokens
    errors           exceptions that are caught by type
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsweep.api import (
        compare,
        evaluate,
        evaluate_file,
        fit,
        load_config,
        load_interactions,
        load_split,
        load_study,
        recommend,
        sweep,
    )

__version__ = "1.0.0"
__all__ = [
    "compare", "evaluate", "evaluate_file", "fit", "load_config", "load_interactions", "load_split",
    "load_study", "recommend", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load the API on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("recsweep.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
