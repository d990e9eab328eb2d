"""What a study is and what it has reached.

The modules, from the outside in:

    catalog       all studies of a folder or of a database
    shared_study  the study as workers see it: claim a trial, report, finish
    final_scores  what the winner reaches on test, and how often test was scored
    status        what a study has reached: its trials, the best one, the time left
    identity      what must stay the same when a study is resumed
"""
