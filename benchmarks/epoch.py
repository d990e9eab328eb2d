"""Times one training epoch of Multi-VAE 600-200-600, side by side in one run.

    python benchmarks/epoch.py --data FOLDER [--epochs N] [--batch N] [--rounds N] [--busy N]

FOLDER holds a split in the five CSV files of Liang et al. 2018. Compared are recsweep on both
backends, the notebook's dense Keras `model.fit` on TensorFlow and, where `make bench-peers` has
made their environments, RecBole, Cornac and irspack. Each runs in its own process; rounds take
turns, so that a noisy machine is noisy for all. Times are the median epoch without each process's
first; peak memory is that of the first process, which compiles, and the highest of the later ones,
which find recsweep's compiled programs in its cache as any second run of a user does. With `--busy`
other processes multiply matrices on as many cores meanwhile, as in a shared machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from tables import Tables, at_least, existing

HERE = Path(__file__).resolve().parent
PEERS = {"recbole": ".venv-recbole", "cornac": ".venv-cornac", "irspack": ".venv-irspack"}
HIDDEN, LATENT = 600, 200


def flop_per_epoch(n_users: int, n_items: int) -> float:
    """Multiplications and additions of an epoch, counted dense: 2 forward, 4 backward."""
    weights = n_items * HIDDEN + HIDDEN * 2 * LATENT + LATENT * HIDDEN + HIDDEN * n_items
    return 6.0 * weights * n_users


def sgemm_flop_per_s(n: int = 4000, n_products: int = 5) -> float:
    """What this machine reaches on a product of n × n float32 matrices: median of some."""
    import numpy as np

    a = np.random.default_rng(0).random((n, n), np.float32)
    times = []
    for _ in range(n_products + 1):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2.0 * n**3 / statistics.median(times[1:])


def clicks(folder: Path):  # noqa: ANN201 - a CSR matrix, whose module is imported late
    """The training clicks as users × items."""
    from recsweep.data.sources.liang import Liang

    source = Liang(name="bench", path=folder)
    return source.load(source.files(folder)).train


def run_recsweep(folder: Path, n_epochs: int, batch: int) -> list[float]:
    """Epochs of this project's engine, on the backend in KERAS_BACKEND."""
    from recsweep.environment import choose_backend, load_backend, use_cache

    choose_backend(os.environ["KERAS_BACKEND"], threads=None)
    use_cache(Path(os.environ["CACHE"]))
    load_backend()
    from recsweep.models.multivae import MultiVAE
    from recsweep.seeds import Seeds
    from recsweep.training.optimizers import Adam

    adam = Adam(learning_rate=0.001, schedule="none", learning_rate_decay=1.0)
    model = MultiVAE(
        hidden_dims=[HIDDEN], latent_dim=LATENT, dropout_rate=0.5, decoder_dropout_rate=0.5,
        beta=0.1, beta_warmup_steps=0, l2=0.0, batch_size=batch, n_epochs=n_epochs, optimizer=adam,
    )  # fmt: skip
    marks = [time.perf_counter()]
    model.fit(clicks(folder), lambda *_: marks.append(time.perf_counter()) or True, Seeds(0))
    return [after - before for before, after in pairwise(marks)]


def run_notebook(folder: Path, n_epochs: int, batch: int) -> list[float]:
    """Epochs of a dense Keras model under `model.fit`, as a notebook would write it."""
    import keras
    import tensorflow as tf

    x = clicks(folder).toarray()

    class VAE(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.input_dropout = keras.layers.Dropout(0.5)
            self.encoder = keras.layers.Dense(HIDDEN, activation="tanh")
            self.mean = keras.layers.Dense(LATENT)
            self.log_variance = keras.layers.Dense(LATENT)
            self.decoder = keras.layers.Dense(HIDDEN, activation="tanh")
            self.hidden_dropout = keras.layers.Dropout(0.5)
            self.logits = keras.layers.Dense(x.shape[1])

        def call(self, rows, training=False):  # noqa: ANN001, ANN202 - Keras' signature
            rows = self.input_dropout(tf.nn.l2_normalize(rows, 1), training=training)
            h = self.encoder(rows)
            mean, log_variance = self.mean(h), self.log_variance(h)
            noise = tf.random.normal(tf.shape(mean)) * tf.exp(0.5 * log_variance)
            kl = 0.5 * (tf.exp(log_variance) + mean**2 - 1 - log_variance)
            self.add_loss(0.1 * tf.reduce_mean(tf.reduce_sum(kl, 1)))
            h = self.decoder(mean + noise if training else mean)
            return self.logits(self.hidden_dropout(h, training=training))

    def multinomial(target, logits):  # noqa: ANN001, ANN202 - Keras' signature
        return -tf.reduce_mean(tf.reduce_sum(tf.nn.log_softmax(logits) * target, 1))

    class Clock(keras.callbacks.Callback):
        seconds: list[float] = []  # noqa: RUF012 - one instance

        def on_epoch_begin(self, *_: object) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, *_: object) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    model = VAE()
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss=multinomial)
    model.fit(x, x, batch_size=batch, epochs=n_epochs, verbose=0, callbacks=[Clock()])
    return Clock.seconds


WORKERS: dict[str, tuple[str, Callable[[Path, int, int], list[float]]]] = {
    "notebook model.fit": ("tensorflow", run_notebook),
    "recsweep jax": ("jax", run_recsweep),
    "recsweep tensorflow": ("tensorflow", run_recsweep),
}


def work(name: str, folder: Path, n_epochs: int, batch: int) -> None:
    """What a worker process does: run and print one line of JSON."""
    seconds = WORKERS[name][1](folder, n_epochs, batch)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"epoch_s": seconds, "peak_rss_mib": peak_mib}))


def commands(
    folder: Path, n_epochs: int, batch: int = 100
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Command and environment of every competitor that can run here."""
    shared = ["--data", str(folder), "--epochs", str(n_epochs), "--batch", str(batch)]
    found = {
        name: ([sys.executable, __file__, "--worker", name, *shared], {"KERAS_BACKEND": backend})
        for name, (backend, _) in WORKERS.items()
    }
    for peer, environment in PEERS.items():
        python = HERE.parent / environment / "bin" / "python"
        if python.exists():
            found[peer] = ([str(python), str(HERE / f"peer_{peer}.py"), *shared], {})
    return found


def measure(command: list[str], environment: dict[str, str]) -> dict[str, object]:
    """The JSON line that a competitor prints."""
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(HERE.parent), **environment}
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def busy_cores(n_cores: int) -> Iterator[None]:
    """Processes that multiply matrices, each on one core, as long as the block runs."""
    script = "import numpy as np\na = np.ones((500, 500), np.float32)\nwhile True:\n    a @ a"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script]
    others = [subprocess.Popen(command, env=environment) for _ in range(n_cores)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def main() -> None:
    """Take turns, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=existing("train.csv"), required=True, help="folder with the five CSV files"
    )
    parser.add_argument(
        "--epochs", type=at_least(2), default=6, help="of each process; the first does not count"
    )
    parser.add_argument("--batch", type=at_least(1), default=100, help="users per step")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each")
    parser.add_argument("--busy", type=at_least(0), default=0, help="cores kept busy by others")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    Tables.add_option(parser)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.data, options.epochs, options.batch)
    with Tables(options.json) as tables, busy_cores(options.busy):
        compare(options, tables)
    return None


def compare(options: argparse.Namespace, tables: Tables) -> None:
    """A row for each competitor."""
    found = commands(options.data, options.epochs, options.batch)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    peaks: dict[str, list[float]] = {name: [] for name in found}
    rates = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(options.rounds):
            rates.append(sgemm_flop_per_s())
            for name, (command, environment) in found.items():
                result = measure(command, {"CACHE": cache, **environment})
                seconds[name] += result["epoch_s"][1:]
                peaks[name].append(result["peak_rss_mib"])
                print(f"{name}: {[round(s, 2) for s in result['epoch_s']]}", file=sys.stderr)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    flop, rate = flop_per_epoch(*clicks(options.data).shape), statistics.median(rates)
    tables.begin(
        "", ("s/epoch", ".2f"), ("of the notebook's", ".2f"), ("of SGEMM's rate", ".0%"),
        ("peak memory, MiB: first", ".0f"), ("later", ".0f"),
        title=f"SGEMM's rate is {rate / 1e9:.0f} GFLOP/s; an epoch is {flop / 1e9:.0f} GFLOP dense",
    )  # fmt: skip
    for name, median in sorted(medians.items(), key=lambda entry: entry[1]):
        ratio, share = median / medians["notebook model.fit"], flop / median / rate
        tables.add(name, median, ratio, share, peaks[name][0], max(peaks[name][1:], default=None))


if __name__ == "__main__":
    main()
