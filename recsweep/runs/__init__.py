"""Finished runs: which one is meant, what its files say, and whether a repeat gives the same.

The names of the files are in `recsweep.run_files`.

The modules, from the outside in:

    lookup        the run that a command means
    records       what a run's folder says, as a tracker would have heard it
    reproduction  a repeat of a run held against it
    scored_run    a run that was scored on test, read from its folder
    weights       the saved weights of two models, piece by piece
    results       writes the results folder of a run
    consistency   metrics per user and curves, held against metrics.json
    locate        a past run: its folder, its configuration
"""
