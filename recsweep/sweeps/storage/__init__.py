"""Where trials are stored, and who may write.

The modules, from the outside in:

    backends        the storage and the locks that `sweep.storage` names
    postgres_locks  leases in PostgreSQL
    database        a storage URL: checked address, engine, Optuna's tables, one-line errors
    journal         an append-only file
    attempts        failed trials that are retried under the same number
    locks           leases and locks in files, which the system frees when their holder dies
    errors          errors that stop a worker without failing its trial
"""
