"""Workers, the process that launches them, and the final trainings of the winner.

The modules, from the outside in:

    coordinator       the process that launches workers: from the first trial to the score on test
    announcement      what a sweep says before its first trial
    setup             all checks before the first trial of a study
    progress          the progress display while workers run
    final_evaluation  the winner, retrained with several seeds
    worker            the task given to a launcher; runs trials until none is left
    trial_runner      one trial: fit, report every epoch, stop early, record how it ended
    slot_plan         how many trials a worker trains at the same time
    crew              threads that run trials side by side in one process
    watchdog          ends a worker whose parent was killed
    interrupt         Ctrl-C and how it reaches the workers
"""
