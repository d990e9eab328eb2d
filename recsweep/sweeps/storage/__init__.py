"""Where trials are kept, and who may write.

The modules, from the outside in:

    backends        the storage and the locks that `sweep.storage` names
    postgres_locks  leases in PostgreSQL
    database        a storage URL: checked address, engine, Optuna's tables, one-line errors
    journal         an append-only file
    attempts        failed trials that are run again under the same number
    locks           leases and locks in files, which the system frees when their holder dies
    errors          what stops a worker without its trial having failed
"""
