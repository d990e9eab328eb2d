"""Finished runs side by side.

The modules, from the outside in:

    fairness      how evenly several models were tuned
    rendering     a comparison as text: printed, Markdown, LaTeX and CSV
    page          a comparison as one HTML file
    groups        by popularity of items and by length of histories
    statistics    means with intervals, and corrected tests of all pairs
    significance  intervals, paired differences, Holm's correction
    markdown      tables, lists, and text as it is
    contenders    groups runs into contenders, and checks that these are comparable
"""
