"""Times 100 steps of the shallow autoencoder on Jukebox, side by side with a dense step.

    python benchmarks/jukebox.py --data listen_count.txt [--steps N] [--seed N]

Both take the same random 80 % of all interactions. The dense step is what the JAX notebook does: a
dense batch of 1,024 users, `jax.grad` of the dense loss, an update, the diagonal set to zero; a few
of them are timed, after the first, which compiles. recsweep trains its five epochs of 20 steps: a
step is the median of the epochs after the first, batches included, and 100 steps are the whole
training, compilation included. Each runs in its own process; the dense steps run before and after,
so that a machine that grows slower or faster is noticed. NDCG@100 has its ideal over all held-out
songs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from tables import Tables, at_least, existing

HERE = Path(__file__).resolve().parent
BATCH, N_STEPS, STEPS_PER_EPOCH, RATE, DECAY, L2, K = 1024, 100, 20, 0.05, 0.99, 0.02, 100


def read(path: Path, seed: int):  # noqa: ANN201 - a fold, whose module is imported late
    """80 % of the interactions as users × songs, and the rest of those users' as a fold."""
    from recsweep.data.split import Fold

    rows = np.loadtxt(path, dtype=np.int64)
    is_train = np.random.default_rng(seed).random(len(rows)) < 0.8
    (users, user), (songs, song) = (
        np.unique(rows[is_train, axis], return_inverse=True) for axis in (0, 1)
    )
    values = (1 + np.log(1 + rows[is_train, 2])).astype(np.float32)
    train = sp.csr_matrix((values, (user, song)), (len(users), len(songs)))

    held_out = rows[~is_train & np.isin(rows[:, 0], users)]
    user, is_song = np.searchsorted(users, held_out[:, 0]), np.isin(held_out[:, 1], songs)
    song = np.searchsorted(songs, held_out[is_song, 1])
    ones = np.ones(len(song), np.float32)
    target = sp.csr_matrix((ones, (user[is_song], song)), train.shape)
    n_unknown = np.bincount(user[~is_song], minlength=len(users))
    return Fold(history=train, target=target, user_ids=users, n_unknown=n_unknown)


def run_dense(path: Path, seed: int, n_steps: int) -> dict[str, float]:
    """Seconds of a dense step: the median of a few."""
    import jax
    import jax.numpy as jnp

    train = read(path, seed).history
    random = np.random.default_rng(seed)
    n_items = train.shape[1]

    def loss(weights, x):  # noqa: ANN001, ANN202 - arrays
        return ((x @ weights - x) ** 2).sum(1).mean() + L2 * (weights**2).sum()

    @jax.jit
    def update(weights, x, rate):  # noqa: ANN001, ANN202 - arrays
        weights = weights - rate * jax.grad(loss)(weights, x)
        return jnp.fill_diagonal(weights, 0, inplace=False)

    weights = jnp.array(random.normal(0, 0.001, (n_items, n_items)).astype(np.float32))
    seconds = []
    for step in range(n_steps + 1):
        start = time.perf_counter()
        x = jnp.array(train[random.integers(train.shape[0], size=BATCH)].toarray())
        weights = update(weights, x, RATE * DECAY**step).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return {"step_s": statistics.median(seconds[1:])}


def run_recsweep(path: Path, seed: int, _n_steps: int) -> dict[str, float]:
    """Seconds of a step and of 100, and NDCG@100."""
    from recsweep.environment import choose_backend, load_backend

    choose_backend(os.environ["KERAS_BACKEND"], threads=None)
    load_backend()
    from recsweep.evaluation import Evaluator
    from recsweep.models.shallow_ae import ShallowAE
    from recsweep.seeds import Seeds
    from recsweep.training.optimizers import SGD

    sgd = SGD(
        learning_rate=RATE, schedule="exponential", learning_rate_decay=DECAY**STEPS_PER_EPOCH,
        momentum=0.0,
    )  # fmt: skip
    model = ShallowAE(
        latent_dim=None, dropout_rate=0.0, l2=L2, batch_size=BATCH,
        n_epochs=N_STEPS // STEPS_PER_EPOCH, optimizer=sgd,
    )  # fmt: skip
    fold = read(path, seed)
    marks = [time.perf_counter()]
    model.fit(fold.history, lambda *_: marks.append(time.perf_counter()) or True, Seeds(seed))
    step_s = statistics.median(after - before for before, after in pairwise(marks[1:]))
    evaluator = Evaluator(k=[K], metrics=["ndcg_full_ideal"], batch_size=500, objective=None)
    means = evaluator.evaluate(model.score, fold).means
    return {
        "step_s": step_s / STEPS_PER_EPOCH,
        "train_s": marks[-1] - marks[0],
        "ndcg": means[f"ndcg_full_ideal@{K}"],
    }


WORKERS = {
    "dense": ("jax", run_dense),
    "jax": ("jax", run_recsweep),
    "tensorflow": ("tensorflow", run_recsweep),
}


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """What a process of its own measures."""
    shared = ["--data", str(options.data), "--steps", str(options.steps), "--seed"]
    settings = {
        "KERAS_BACKEND": WORKERS[name][0],
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(HERE.parent),
    }
    done = subprocess.run(
        [sys.executable, __file__, "--worker", name, *shared, str(options.seed)],
        env={**os.environ, **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name}: {found}", file=sys.stderr)
    return found


def main() -> None:
    """Measure, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=existing(), required=True, help="listen_count.txt")
    parser.add_argument("--steps", type=at_least(1), default=6, help="dense steps that are timed")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and batches")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    Tables.add_option(parser)
    options = parser.parse_args()
    if options.worker:
        run = WORKERS[options.worker][1]
        print(json.dumps(run(options.data, options.seed, options.steps)))
        return
    with Tables(options.json) as tables:
        turns = [(name, measure(name, options)) for name in ("dense", "jax", "tensorflow", "dense")]
        dense_s = statistics.mean(found["step_s"] for name, found in turns if name == "dense")
        tables.begin("", ("s/step", ".3f"), ("the dense step takes, times", ".1f"),
                     (f"s/{N_STEPS} steps", ".1f"),
                     (f"NDCG@{K}, ideal over all", ".4f"))  # fmt: skip
        tables.add("notebook's dense step", dense_s, 1.0, None, None)
        for name, found in turns[1:3]:
            step_s, train_s = found["step_s"], found["train_s"]
            tables.add(f"recsweep {name}", step_s, dense_s / step_s, train_s, found["ndcg"])


if __name__ == "__main__":
    main()
