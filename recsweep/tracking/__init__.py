"""Experiment tracking with MLflow, or none.

Only this package imports MLflow, and `recsweep.serving`, which MLflow runs.

The modules, from the outside in:

    backfill         uploads runs from files to MLflow
    registry         MLflow's model registry
    run_search       finds the runs to compare
    null_tracker     the tracker of `tracking=off`
    mlflow_tracker   a run in MLflow: a single one, a sweep's, or one of its trials
    run_by_name      finds a run by id, name or `latest`
    system_metrics   load of the machine's GPUs, logged to a run
    ui_server        MLflow's UI as a server of this machine
    ui_view          how MLflow's UI displays a sweep
    fault_tolerance  if the store is lost, a run continues with a warning
    nested_runs      tags: who started a run, and which belong to a sweep
    run_note         Markdown for the page of a run
    write_buffer     buffers what runs log; a thread writes it every second
    store            the MLflow store: its client, its database, its errors
    relocation       files of a database that was moved or copied with its folder

The names below are part of every saved configuration.
"""

from recsweep.tracking.mlflow_tracker import MLflowTracker
from recsweep.tracking.nested_runs import trial_name
from recsweep.tracking.null_tracker import NullTracker
from recsweep.tracking.run_by_name import LATEST

__all__ = ["LATEST", "MLflowTracker", "NullTracker", "trial_name"]
