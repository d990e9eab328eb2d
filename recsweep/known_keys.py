"""Which configuration key was probably meant by an unknown one, and which keys are lists."""

import re
from collections.abc import Sequence

from recsweep.messages import closest

LISTS = ("data.counts", "k", "metrics", "model.hidden_dims", "sweep.objectives", "trust")
"""Settings whose value is a list, so that `a,b` may stand for `[a,b]`."""


def _plain(name: str) -> str:
    """A name without differences of spelling."""
    return re.sub(r"[-_ ]", "", name).lower()


SYNONYMS = {
    _plain(other): key
    for key, others in {
        "model": "algorithm algo architecture net network recommender",
        "data": "dataset datasets",
        "optimizer": "optim opt",
        "experiment": "recipe config cfg",
        "data.path": "file input data_file data_dir data_path dataset_path",
        "n_epochs": "epochs epoch num_epochs max_epochs n_iter iterations n_iterations",
        "learning_rate": "lr eta step_size",
        "learning_rate_decay": "lr_decay decay gamma",
        "batch_size": "batch bs mini_batch",
        "dropout_rate": "dropout drop drop_rate drop_prob",
        "latent_dim": "latent factors n_factors embedding_dim embedding_size dim rank",
        "hidden_dims": "hidden layers hidden_units hidden_layers hidden_sizes",
        "l2": "lambda lam reg regularization weight_decay l2_reg lambda_",
        "beta": "kl_weight kl anneal_cap",
        "beta_warmup_steps": "warmup warmup_steps anneal_steps total_anneal_steps",
        "n_neighbors": "neighbors neighbours n_neighbours",
        "k": "top_k topk ks cutoff cutoffs at n_recommendations",
        "metrics": "metric",
        "objective": "target monitor valid_metric",
        "patience": "early_stopping early_stop",
        "evaluation_batch_size": "eval_batch_size test_batch_size",
        "seed": "random_seed random_state rng",
        "threads": "n_threads num_threads cpus cores n_cores",
        "cache_dir": "cache",
        "n_trials": "trials num_trials max_trials budget",
        "n_workers": "workers num_workers n_jobs jobs processes",
        "final_seeds": "seeds n_seeds replicates repeats",
        "study": "study_name",
        "task.run": "run runs run_id id of",
        "hydra.run.dir": "output_dir out_dir outdir save_dir",
    }.items()
    for other in others.split()
}
"""Names in other programs -> recsweep's key, or its last part."""


def unknown_key(key: str, known: Sequence[str]) -> str:
    """A sentence about an unknown key.

    Args:
        key: As written, with its path.
        known: The keys that exist, with their paths.
    """
    if close := _known_key(key, known):
        hint = f"did you mean {close}?"
    elif parent := key.rpartition(".")[0]:
        parts = [name.rpartition(".") for name in known]
        names = [last for before, _, last in parts if before == parent and last != "_target_"]
        hint = f"{parent} has {', '.join(names) or 'no settings'}"
    else:
        hint = "python -m recsweep --help lists all keys"
    return f"unknown key {key}; {hint}"


def resolve_synonym(key: str) -> str:
    """What a key means here, if it is a name from other programs; else its last part.

    Args:
        key: As written, with its path.
    """
    leaf = key.rpartition(".")[2]
    return SYNONYMS.get(_plain(leaf), leaf)


def _known_key(key: str, known: Sequence[str]) -> str | None:
    """The key that was probably meant: by its last part, its siblings first, then by spelling."""
    parent, _, leaf = key.rpartition(".")
    leaves = {name: name.rpartition(".")[2] for name in known}
    siblings = {last: name for name, last in leaves.items() if name.rpartition(".")[0] == parent}
    means = resolve_synonym(key)
    if means.rpartition(".")[2] in siblings:
        return siblings[means.rpartition(".")[2]]
    for meant in (leaf, means):  # a setting of this name comes before one that others call so
        for name, last in leaves.items():
            if meant == name or _plain(last) == _plain(meant):
                return name
    anywhere = {last: name for name, last in leaves.items() if _plain(leaf) not in SYNONYMS}
    # another group's key is meant only if it is nearly the same: EASE has no n_epochs, nor does it
    # mean pruner.min_epochs
    for names, cutoff in ((siblings, 0.6), (anywhere, 0.9 if parent and siblings else 0.75)):
        if near := closest(leaf, names, cutoff):
            return names[near]
    return None
