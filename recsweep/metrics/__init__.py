"""Metrics: ranked lists in, one value per user or one of the catalogue out.

The modules, from the outside in, beside one file per metric, which `conf/metrics` names:

    groups        accuracy by popularity of items and by length of histories
    gains         discounted cumulative gain
    metric        what a metric is
    ranked_lists  what a metric is given
"""
