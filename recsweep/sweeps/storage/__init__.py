"""Where trials are stored, and who may write.

The modules, from the outside in:

    backends           the storage and the locks that `sweep.storage` names
    database_storage   Optuna's tables, written in few statements and waited for in an outage
    postgres_locks     leases in PostgreSQL
    shared_connection  a process's only connection: transactions, and locks of its session
    database           a storage URL: checked address, engine, Optuna's tables, one-line errors
    outages            which errors are an outage, and how long it is waited for
    journal            an append-only file
    attempts           failed trials that are retried under the same number
    locks              leases and locks in files, which the system frees when their holder dies
    file_locks         locks and reads of open files, on POSIX systems and on Windows
    errors             errors that stop a worker without failing its trial
"""
