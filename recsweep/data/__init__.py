"""From files to a split: source -> `Interactions` -> protocol -> `Split`, kept in a cache.

The modules, from the outside in:

    prepare         the split of a source, from the cache if it was prepared before
    sources         the choices of `data=`, one file each
    splits          the choices of `split=`, one file each
    tuning_folds    folds of the users of training and validation, for a sweep's trials
    user_histories  users to recommend to, and the items they already have
    held_out_parts  a split from marked interactions
    held_out_users  a split of whole users, with fold-in
    holdout_draw    which interactions are held out at random
    leaks           refuses held-out interactions that a model would see
    gram            the Gram matrix XᵀX
    degrees         degrees of users and items, and matrices normalised by them
    known_users     recognises training users by their items
    transform       how values are transformed before a model sees them
    plain_text      lists of users, and `user item [value]` lines
    split           train, and two held-out folds
    table           reads and checks a file of interactions
    archive         extracts a file from a zip archive or a wheel
    download        downloads a file
    formats         how a table is stored in a file: delimited text, JSON lines, Parquet
    interactions    who interacted with what
    header          whether the first line names the columns
    text_stream     text files of any compression and encoding
    magic_bytes     detects a file's type by its first bytes
    columns         which column holds users, items and values
    timestamps      times, compared exactly, and given ones
    ids             when two ids are the same
    matrix          sparse matrices and their fingerprints
"""
