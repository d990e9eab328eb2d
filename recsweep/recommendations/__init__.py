"""Lists of recommended items.

The modules, from the outside in:

    fitted_model  the model of a finished run, and the lists that it makes
    files         files of recommendations, written by us and read from anybody
"""
