"""recsweep: hyperparameter sweeps for recommenders that learn from implicit feedback.

The layers, from the outside in; a module imports only from the ones below its own:

    command_line   python -m recsweep: composes the configuration (Hydra)
    mistakes       what is wrong with a command line, in one line each
    serving        what MLflow runs to load a registered model
    tasks          what `task=` can do, one file each
    sweep          Optuna's studies: search space, workers, resume (with Hydra's -m)
    app            configuration -> objects
    report         finished runs -> tables and plots
    experiment     one trial in reading order: fit, evaluate, keep the best epoch
    tracking       MLflow tracker and silent tracker
    evaluation     scores -> masked top-k -> hits -> metrics per user
    models         one file per recommender
    persistence    fitted models and whole folders on disk
    training       batches, schedules, the epoch loop, one engine per backend
    data           sources, filters, splits, download, cache
    metrics        arrays in, one value per user out
    build, known_keys, shell, environment, interfaces, inverse, memory, seeds, source_code,
    errors
"""

__version__ = "0.1.0"
