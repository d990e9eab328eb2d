"""Finished runs side by side.

The modules, from the outside in:

    fairness    how evenly several models were tuned
    rendering   a comparison as text: printed, Markdown, LaTeX and CSV
    page        a comparison as one HTML file
    statistics  means with intervals, all pairs with corrected tests
    contenders  which runs are one contender, and whether contenders may be compared
"""
