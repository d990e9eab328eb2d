"""Finished runs: finding them, reading them, and comparing a repeat with the original.

The names of the files are in `recsweep.run_files`.

The modules, from the outside in:

    bundle        packs runs into one file for a stranger, and unpacks it without trust
    lookup        finds the run that a command refers to
    records       rebuilds from a run's folder what a tracker would have logged
    reproduction  compares a repeat with its run
    scored_run    reads a run that was scored on test from its folder
    weights       compares the saved weights of two models, in chunks
    results       writes the results folder of a run
    consistency   checks metrics per user, curves and model against the other files of a run
    past_run      a past run: its folder, its configuration
"""
