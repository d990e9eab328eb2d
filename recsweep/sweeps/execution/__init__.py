"""Workers, the process that launches them, and the final trainings of the winner.

The modules, from the outside in:

    workers_only      workers for a study that another command finishes
    coordinator       the process that launches workers: from the first trial to the score on test
    announcement      what a sweep says before its first trial
    setup             all checks before the first trial of a study
    progress          the progress display while workers run
    final_evaluation  the winner, retrained with several seeds
    worker_errors     how workers end early, as the launching process sees it
    run_endings       how runs ended, as the tracking store is told
    worker            the task given to a launcher; runs trials until none is left
    gpu_lease         one GPU per worker process: the least loaded one
    trial_runner      one trial: fit, report every epoch, stop early, record how it ended
    replicates        the trainings of one trial: one, or one per fold or seed
    slot_plan         how many trials a worker trains at the same time
    crew              threads that run trials side by side in one process
    watchdog          ends a worker whose parent was killed
    device_errors     a lost device, which is not the trial's fault, and one that is too small
    gpus              the GPUs of this machine, found without importing a backend
    stop_relay        carries requests to stop between a command and its study
    interrupt         Ctrl-C and how it reaches the workers
"""
