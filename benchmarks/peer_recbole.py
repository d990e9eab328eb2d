"""Times the training epochs of RecBole's MultiVAE; run it by the environment that peers.sh builds.

The timed part is RecBole's own `Trainer._train_epoch`: shuffling, densifying, forward, backward and
Adam, nothing else. How it differs from the paper and from our Multi-VAE, as far as cost goes:

- `latent_dimension` counts mean *and* log-variance, so 400 is what gives a latent of 200.
- Its data holds one padding user and one padding item more than the file.
- Every batch is densified from a users x longest-history table, and the loss reads the dense batch.
- The noise added to the mean has standard deviation 0.01, not 1; this costs the same.

With --tuner it is one trial as RecBole's own tuner runs it that is timed, with RecBole's defaults
otherwise: reading the files, epochs, and after each an evaluation of the validation users. RecBole
ranks items only for users it has trained on, so it also trains on what is shown of those.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import peer
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
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


TUNER = {
    "benchmark_filename": ["train", "valid", "test"],
    "eval_args": {"order": "RO", "group_by": None, "mode": "full"},
    "metrics": ["NDCG"],
    "topk": [100],
    "valid_metric": "NDCG@100",
}


def write_atomic_file(name: str, folder: Path, *tables: Path) -> int:
    """Rewrites clicks as a file that RecBole reads, `clicks/NAME.inter`, and counts them."""
    clicks = [click for table in tables for click in table.read_text().splitlines()[1:]]
    rows = ["user_id:token\titem_id:token", *(click.replace(",", "\t") for click in clicks)]
    (folder / "clicks").mkdir(exist_ok=True)
    (folder / "clicks" / f"{name}.inter").write_text("\n".join(rows) + "\n")
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


def time_trial(data: Path, folder: Path, n_epochs: int, batch: int) -> dict[str, object]:
    """Seconds of a trial's start, of each of its epochs and of an evaluation (median)."""
    write_atomic_file("clicks.train", folder, data / "train.csv", data / "validation_tr.csv")
    for name in ("valid", "test"):
        write_atomic_file(f"clicks.{name}", folder, data / "validation_te.csv")
    settings = SETTINGS | TUNER | {
        "data_path": str(folder), "epochs": n_epochs, "train_batch_size": batch
    }  # fmt: skip
    start_s = time.perf_counter()
    config = Config(model="MultiVAE", dataset="clicks", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, MultiVAE(config, train.dataset))
    begun_s = time.perf_counter()
    timed: dict[str, list[float]] = {"_train_epoch": [], "_valid_epoch": []}

    def timed_method(name: str) -> None:
        method = getattr(trainer, name)

        def call(*args: object, **kwargs: object) -> object:
            start_s = time.perf_counter()
            result = method(*args, **kwargs)
            timed[name].append(round(time.perf_counter() - start_s, 3))
            return result

        setattr(trainer, name, call)

    for name in timed:
        timed_method(name)
    trainer.fit(train, valid_data=valid, saved=False, verbose=False)
    return {
        "begin_s": round(begun_s - start_s, 3),
        "epoch_s": timed["_train_epoch"],
        "evaluation_s": statistics.median(timed["_valid_epoch"]),
    }


def main() -> None:
    """Prints the measurement as one line of JSON."""
    parser = peer.parser(__doc__)
    parser.add_argument("--tuner", action="store_true", help="time a trial of RecBole's tuner")
    options = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole's Config would read our options as its own
    data, of_epoch = options.data.resolve(), (options.epochs, options.batch)
    # RecBole writes its logs and its checkpoint folder where it is run.
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        if options.tuner:
            timed = time_trial(data, folder, *of_epoch)
        else:
            n_clicks = write_atomic_file("clicks", folder, data / "train.csv")
            timed = {"epoch_s": time_epochs(folder, n_clicks, *of_epoch)}
    peer.report("RecBole", "MultiVAE", timed, torch.get_num_threads())


if __name__ == "__main__":
    main()
