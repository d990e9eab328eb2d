"""What a study is and how far it has got.

The modules, from the outside in:

    catalog        all studies of a folder or of a database
    claims         who runs which trial next: a dead worker's, a failed one or a new one
    takeover       a dead worker's trial is taken over
    final_claims   who trains the winner with which seed
    claim          the right to run one trial, and whether a worker still has it
    shared_study   the study as workers see it: its trials, and how one of them is finished
    final_scores   the winner's trainings and test scores, and how often test was scored
    leftovers      files of an earlier study in a new study's folder
    stop_requests  requests to stop, which workers on every host hear
    status         the progress of a study: its trials, the best one, the time left
    identity       what must stay the same when a study is resumed
"""
