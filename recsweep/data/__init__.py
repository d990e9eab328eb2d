"""From files to a split: source -> `Interactions` -> protocol -> `Split`, kept in a cache.

The modules, from the outside in:

    prepare         the split of a source, from the cache if it was made before
    sources         what `data=` names, one file each
    splits          what `split=` names, one file each
    user_histories  users who are asked about, and what they already have
    holdout_draw    which interactions are held out by chance
    leaks           refuses held-out interactions that a model would see
    gram            the Gram matrix XᵀX
    transform       what a value becomes before a model sees it
    plain_text      lists of users, and `user item [value]` lines
    split           train, and two held-out folds
    table           a file of interactions, read and checked
    interactions    who interacted with what
    download        a file from the network
    archive         a file from a zip archive or a wheel
    formats         how a table of interactions lies in a file
    header          whether the first line names the columns
    text_stream     text files, however they are packed and encoded
    magic_bytes     what a file is by its first bytes
    columns         which column holds users, items and values
    timestamps      times, compared exactly
    ids             when two ids are one
    matrix          sparse matrices and their fingerprints
"""
