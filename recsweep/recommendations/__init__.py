"""Lists of recommended items.

The modules, from the outside in:

    tables        histories and lists as pandas tables
    fitted_model  the model of a finished run, and the lists that it makes
    files         files of recommendations, written by us and read from anybody
"""
