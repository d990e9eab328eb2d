"""Where runs are kept: MLflow, or nowhere. The one package that imports MLflow.

    mlflow_tracker   a run in MLflow: a single one, a sweep's, or one of its trials
    null_tracker     the tracker of `tracking=off`
    backfill         runs that were kept in files, brought to MLflow
    registry         MLflow's registry of models
    run_search       finds the runs that are to be compared
    run_by_name      finds the run that is meant by an id, a name or `latest`
    ui_view          how MLflow's UI opens a sweep
    fault_tolerance  a store that goes away costs a run a warning
    nested_runs      which runs belong to a sweep
    run_note         Markdown for the page of a run
    store            the place itself: its client, its database, what can be wrong with it
    relocation       files of a database that was moved or copied with its folder

The names below are part of every configuration that a run has written down.
"""

from recsweep.tracking.mlflow_tracker import MLflowTracker
from recsweep.tracking.nested_runs import trial_name
from recsweep.tracking.null_tracker import NullTracker
from recsweep.tracking.run_by_name import LATEST

__all__ = ["LATEST", "MLflowTracker", "NullTracker", "trial_name"]
