"""Lists of recommended items.

The modules, from the outside in:

    tables        histories and lists as pandas tables
    fitted_model  the model of a finished run, and its ranked lists
    files         reads and writes files of recommendations
"""
