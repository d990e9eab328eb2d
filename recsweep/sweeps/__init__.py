"""Sweeps: studies whose trials are shared by workers, pruned, and resumed after any crash.

Packages, from the outside in; a module imports only from the ones below its own:

    sweeper           the entry point of Hydra's -m: one study per model, then their comparison
    study_comparison  the winners of several studies side by side
    launching         starts workers through the launcher that was chosen
    slurm_jobs        workers as jobs of Slurm
    ray_jobs          jobs of Hydra as tasks of Ray
    execution         workers, the process that launches them, and the final trainings of the winner
    reporting         tables, plots, files and MLflow pages of a study
    study             what a study is and what it has reached
    sampling          which values the next trial gets, and when a trial is pruned
    storage           where trials are stored, and who may write
    space             what is searched
"""
