"""Metrics: arrays in, one value per user out.

The modules, from the outside in:

    ranking       of a user's list: which ranks are hits
    catalog       of what all users together are shown
    significance  intervals, paired differences, Holm's correction
"""
