"""What is searched.

The modules, from the outside in:

    space            all branches of a search, and the values of a trial
    branch           one combination of the searched groups' options, and its searched keys
    dimension        one searched key: Hydra's sweep grammar as an Optuna distribution
    model_overrides  settings of one command for several models
"""
