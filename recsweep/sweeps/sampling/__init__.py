"""Which values the next trial gets, and when a trial is pruned.

The modules, from the outside in:

    samplers    `sampler=`: a trial's values as a function of the study's seed and earlier trials
    evolution   CMA-ES whose state is replayed from finished trials
    grid        every combination of listed values, in an order that covers the space early
    pruners     `pruner=`: whether a trial stops early
"""
