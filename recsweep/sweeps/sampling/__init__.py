"""Which values the next trial gets, and when a trial is pruned.

The modules, from the outside in:

    samplers    `sampler=`: the values of a trial as a function of the study's seed and its trials
    grid        every combination of listed values, in an order that covers the space early
    pruners     `pruner=`: whether a trial stops early
"""
