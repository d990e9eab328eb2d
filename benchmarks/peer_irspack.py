"""Times the training epochs of irspack's MultVAE; run it by the environment that peers.sh builds.

MultVAE is a Multi-VAE on JAX and Haiku. What its implementation does differently:

- No dropout before the last layer: it skips one mask per batch.
- The KL weight rises over `anneal_end_epoch` epochs, as in the paper; a constant costs the same.
- Each step is a call of its own, with a batch cut from a CSR matrix and made dense on the host.
- The loss is the dense batch times log-softmax.

Timed is `run_epoch` of its trainer, the loop body of `learn`, until the last step's weights are
there: JAX returns before. The first epoch compiles one program for full batches and one for the
last, smaller one.
"""

import csv
import os
import time
from pathlib import Path

import jax
import numpy as np
import peer
from irspack.recommenders.multvae import MultVAETrainer
from scipy import sparse


def read_clicks(train_csv: Path) -> sparse.csr_matrix:
    """The clicks as users × items, float32."""
    with train_csv.open(newline="") as file:
        rows = [(int(row["uid"]), int(row["sid"])) for row in csv.DictReader(file)]
    users, items = np.array(rows).T
    users = np.unique(users, return_inverse=True)[1]
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (users, items)))


def time_epochs(train_csv: Path, n_epochs: int, batch: int) -> list[float]:
    """Trains and returns the seconds of each epoch."""
    trainer = MultVAETrainer(
        read_clicks(train_csv),
        dim_z=200,
        enc_hidden_dim=600,
        dec_hidden_dim=600,
        dropout_p=0.5,
        l2_regularizer=0.0,
        kl_anneal_goal=0.1,
        anneal_end_epoch=1,
        minibatch_size=batch,
        learning_rate=1e-3,
    )
    seconds = []
    for _ in range(n_epochs):
        start_s = time.perf_counter()
        trainer.run_epoch()
        jax.block_until_ready(trainer.params)
        seconds.append(round(time.perf_counter() - start_s, 3))
    return seconds


def main() -> None:
    """Prints the measurement as one line of JSON."""
    options = peer.parser(__doc__).parse_args()
    epoch_s = time_epochs(options.data / "train.csv", options.epochs, options.batch)
    peer.report("irspack", "MultVAE", {"epoch_s": epoch_s}, len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    main()
