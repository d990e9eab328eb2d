"""What a study is and how far it has got.

The modules, from the outside in:

    catalog       all studies of a folder or of a database
    shared_study  the study as workers see it: claim a trial or take over a dead worker's, finish it
    final_scores  the winner's test scores, and how often test was scored
    status        the progress of a study: its trials, the best one, the time left
    identity      what must stay the same when a study is resumed
"""
