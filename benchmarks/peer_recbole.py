"""Times the training epochs of RecBole's MultiVAE; run it by the environment that peers.sh builds.

The timed part is RecBole's own `Trainer._train_epoch`: shuffling, densifying, forward, backward and
Adam, nothing else. How it differs from the paper and from our Multi-VAE, as far as cost goes:

- `latent_dimension` counts mean *and* log-variance, so 400 is what gives a latent of 200.
- Its data holds one padding user and one padding item more than the file.
- Every batch is densified from a users x longest-history table, and the loss reads the dense batch.
- The noise added to the mean has standard deviation 0.01, not 1; this costs the same.
"""

import argparse
import contextlib
import json
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.utils import get_dataloader
from recbole.model.general_recommender import MultiVAE
from recbole.trainer import Trainer
from recbole.utils import init_seed

SETTINGS = {
    "mlp_hidden_size": [600],
    "latent_dimension": 400,
    "dropout_prob": 0.5,
    "learner": "adam",
    "learning_rate": 1e-3,
    "train_neg_sample_args": None,
    # RecBole always splits what it reads; these shares leave every click in the training part.
    "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "RO", "group_by": None, "mode": "full"},
    "use_gpu": False,
    "show_progress": False,
    "seed": 1,
}


def write_atomic_file(train_csv: Path, folder: Path) -> int:
    """Rewrites the clicks as the file RecBole reads, `clicks/clicks.inter`, and counts them."""
    clicks = train_csv.read_text().splitlines()[1:]
    rows = ["user_id:token\titem_id:token", *(click.replace(",", "\t") for click in clicks)]
    (folder / "clicks").mkdir()
    (folder / "clicks" / "clicks.inter").write_text("\n".join(rows) + "\n")
    return len(clicks)


def time_epochs(folder: Path, n_clicks: int, n_epochs: int, batch: int) -> list[float]:
    """Trains by `Trainer.fit` and returns the seconds spent in each call of its epoch function."""
    settings = SETTINGS | {
        "data_path": str(folder), "epochs": n_epochs, "train_batch_size": batch
    }  # fmt: skip
    config = Config(model="MultiVAE", dataset="clicks", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    train = create_dataset(config).build()[0]
    if train.inter_num != n_clicks:
        raise ValueError(f"RecBole must train on all {n_clicks} clicks, but kept {train.inter_num}")
    batches = get_dataloader(config, "train")(config, train, None, shuffle=True)
    trainer = Trainer(config, MultiVAE(config, train))
    train_epoch, epoch_s = trainer._train_epoch, []

    def timed_epoch(*args: object, **kwargs: object) -> float:
        start_s = time.perf_counter()
        loss = train_epoch(*args, **kwargs)
        epoch_s.append(round(time.perf_counter() - start_s, 3))
        return loss

    trainer._train_epoch = timed_epoch
    trainer.fit(batches, valid_data=None, saved=False, verbose=False)
    return epoch_s


def main() -> None:
    """Prints the measurement as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds train.csv")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=100, help="users per step")
    options = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole's Config would read our options as its own
    train_csv = (options.data / "train.csv").resolve()
    # RecBole writes its logs and its checkpoint folder where it is run.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        n_clicks = write_atomic_file(train_csv, Path(folder))
        epoch_s = time_epochs(Path(folder), n_clicks, options.epochs, options.batch)
    row = {"name": f"RecBole {version('recbole')} MultiVAE", "version": version("recbole")}
    row |= {"epoch_s": epoch_s, "threads": torch.get_num_threads()}
    row["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
