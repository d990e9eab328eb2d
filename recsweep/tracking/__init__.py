"""Where runs are kept: MLflow, or nowhere. The one package that imports MLflow.

    runs        one run in MLflow
    silent      the tracker that keeps nothing
    sweeps      which runs belong to a sweep
    finished    which run is meant when one is to be used again
    store       the place itself: its client, its database, what can be wrong with it
    relocation  files of a database that was moved or copied with its folder

The names below are part of every configuration that a run has written down.
"""

from recsweep.tracking.finished import LATEST, MODEL
from recsweep.tracking.runs import MLflowTracker
from recsweep.tracking.silent import SilentTracker
from recsweep.tracking.store import without_passwords
from recsweep.tracking.sweeps import trial_name

__all__ = ["LATEST", "MODEL", "MLflowTracker", "SilentTracker", "trial_name", "without_passwords"]
