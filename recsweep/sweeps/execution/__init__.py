"""Workers, the process that launches them, and the winner's last trainings.

The modules, from the outside in:

    coordinator       the process that launches workers: from the first trial to the score on test
    setup             everything about a study that is checked before its first trial
    progress          what a person sees while workers run
    final_evaluation  the winner, trained again with several seeds
    trial_runner      one trial: fit, report every epoch, stop early, say how it ended
    worker            what a launcher is given; runs trials until none is left
    watchdog          ends a worker whose parent was killed
    interrupt         Ctrl-C and how it reaches the workers
"""
