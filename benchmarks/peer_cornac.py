"""Times the training epochs of Cornac's VAECF; run it by the environment that peers.sh builds.

VAECF is a Multi-VAE with fewer parts. What its implementation does differently:

- No dropout and no L2 normalisation of the input: it skips one mask and one division per batch.
- Users come in the same order in every epoch: `learn` asks for them with `shuffle=False`.
- The KL weight is a constant (default 1), not annealed; this costs the same.
- Mean and log-variance are two 600-200 layers instead of one 600-400 layer, the same arithmetic.
- The loss takes log(softmax + 1e-10) instead of log-softmax, on the dense batch, and the terms of
  all four likelihoods that it knows are computed before the one asked for is picked.
- Each batch is cut from a CSR matrix and densified.

`learn` has no hook for an epoch, but it asks the data for a fresh iterator over users once in each,
and exhausts it only after the last batch's step. The life of that iterator is what is timed.
"""

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import peer
import torch
from cornac.data import Dataset
from cornac.models import VAECF


class TimedDataset(Dataset):
    """Cornac's data set, noting the seconds from an epoch's first batch asked for to its end."""

    def user_iter(self, batch_size: int = 1, shuffle: bool = False) -> Iterator[np.ndarray]:
        """Yields an epoch's batches of users, then notes how long their training took."""
        start_s = time.perf_counter()
        yield from super().user_iter(batch_size, shuffle)
        self.epoch_s.append(round(time.perf_counter() - start_s, 3))


def read_clicks(train_csv: Path) -> list[tuple[str, str, float]]:
    """Reads the clicks as the (user, item, value) triplets that Cornac expects."""
    with train_csv.open(newline="") as file:
        return [(row["uid"], row["sid"], 1.0) for row in csv.DictReader(file)]


def time_epochs(train_csv: Path, n_epochs: int, batch: int) -> list[float]:
    """Trains by `VAECF.fit` and returns the seconds of each epoch."""
    clicks = read_clicks(train_csv)
    train = TimedDataset.from_uir(clicks, seed=1)
    if train.num_ratings != len(clicks):
        raise ValueError(
            f"Cornac must train on all {len(clicks)} clicks, but kept {train.num_ratings}"
        )
    train.epoch_s = []
    model = VAECF(
        k=200,
        autoencoder_structure=[600],
        act_fn="tanh",
        likelihood="mult",
        n_epochs=n_epochs,
        batch_size=batch,
        learning_rate=1e-3,
        seed=1,
        use_gpu=False,
    )
    model.fit(train)
    return train.epoch_s


def main() -> None:
    """Prints the measurement as one line of JSON."""
    options = peer.parser(__doc__).parse_args()
    epoch_s = time_epochs(options.data / "train.csv", options.epochs, options.batch)
    peer.report("Cornac", "VAECF", {"epoch_s": epoch_s}, torch.get_num_threads())


if __name__ == "__main__":
    main()
