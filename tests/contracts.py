"""What every recommender must do, checked on every YAML in conf/model.

A new model gets these for free: a file conf/model/<stem>.yaml is enough.
"""

import copy
import re
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from tampering import OF_SPARSE, TAMPERINGS

from recsweep import command_line
from recsweep.build import build
from recsweep.data.sources.synthetic import Synthetic
from recsweep.data.split import Split
from recsweep.data.splits.strong import Strong
from recsweep.errors import InputError
from recsweep.evaluation import Evaluator
from recsweep.interfaces import CSR, HasLoss, HasShapes, Recommender
from recsweep.models.turbo_cf import TurboCF
from recsweep.persistence import load_model, save_model, write_checksums
from recsweep.seeds import Seeds
from recsweep.stored_files import Header, refuse_other_arrays

SMALL = {
    "batch_size": 20,
    "n_epochs": 30,
    "hidden_dims": [32],
    "hidden_dim": 32,
    "latent_dim": 16,
    "beta_warmup_steps": 0,
}
"""Settings for a small data set; a model takes those that it has."""


def composed(*overrides: str) -> Mapping[str, Any]:
    """The configuration of a command line that tracks nothing, resolved."""
    return command_line.compose_config("tracking=off", *overrides)


VARIANTS = {"shallow_ae full": {"latent_dim": None}}
"""Models in a second form that runs other code."""
ALIKE = (
    "bpr", "edlae", "elsa", "gf_cf", "ials", "lightgcn", "mrf", "multidae", "p3alpha", "rdlae",
    "recvae", "rp3beta", "shallow_ae", "shallow_ae full", "slim",
)  # fmt: skip
"""Models that `make test-extended` holds to what is tested of every model; `make test` does so with
one of each kind, and with new ones."""


def each_model(names: Iterable[str]) -> list[Any]:
    """Models as parameters of a test."""
    later = pytest.mark.extended
    return [pytest.param(name, marks=later) if name in ALIKE else name for name in names]


@cache
def _model(name: str) -> Mapping[str, Any]:
    return dict(composed(f"model={name}")["model"])


def small_spec(name: str, **changes: Any) -> dict[str, Any]:
    """The configuration of a model or a variant, small enough for a test."""
    spec = copy.deepcopy(dict(_model(name.split(maxsplit=1)[0])))
    wanted = {**SMALL, **VARIANTS.get(name, {}), **changes}
    spec.update({key: value for key, value in wanted.items() if key in spec})
    if "optimizer" in spec:
        spec["optimizer"] = {**spec["optimizer"], "learning_rate": 0.01}
    return spec


def planted_split() -> Split:
    """Groups of taste that a model can learn, 300 users × 60 items."""
    source = Synthetic(
        name="planted", path=None, min_rating=None, min_user_interactions=5, n_heldout_users=40,
        n_users=300, n_items=60, n_groups=4, mean_clicks=14, affinity=30, popularity_exponent=0.5,
        seed=3,
    )  # fmt: skip
    splitter = Strong(n_heldout_users=40, target_fraction=0.2, seed=1)
    return splitter.split(source.load([]))


def fitted(spec: Mapping[str, Any], train: CSR, seed: int = 1) -> Recommender:
    """A model that has been through all of its epochs."""
    model: Recommender = build(spec, "model")
    model.fit(train, lambda _epoch, _losses: True, Seeds(seed))
    return model


def assert_scores_are_finite_and_of_the_right_shape(model: Recommender, history: CSR) -> None:
    scores = np.asarray(model.score(history))
    assert scores.shape == history.shape
    assert np.isfinite(scores).all()


def assert_an_empty_history_and_an_empty_request_are_scored(
    model: Recommender, n_items: int
) -> None:
    nobody = np.asarray(model.score(sp.csr_matrix((1, n_items), dtype=np.float32)))
    assert nobody.shape == (1, n_items)
    assert np.isfinite(nobody).all()
    nothing = np.asarray(model.score(sp.csr_matrix((0, n_items), dtype=np.float32)))
    assert nothing.shape == (0, n_items)


def assert_a_users_scores_do_not_depend_on_the_batch(model: Recommender, history: CSR) -> None:
    together = np.asarray(model.score(history))[3]
    alone = np.asarray(model.score(history[3]))[0]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)  # float32 sums, other order


def assert_the_same_seed_gives_the_same_scores(spec: Mapping[str, Any], split: Split) -> None:
    first, second = (fitted(spec, split.train).score(split.valid.history) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def assert_another_trial_in_between_changes_nothing(spec: Mapping[str, Any], split: Split) -> None:
    before = fitted(spec, split.train)
    expected = np.array(before.score(split.valid.history))
    fitted(spec, split.train[:100], seed=9)
    np.testing.assert_array_equal(np.asarray(before.score(split.valid.history)), expected)
    again = fitted(spec, split.train).score(split.valid.history)
    np.testing.assert_array_equal(np.asarray(again), expected)


def assert_saved_and_restored_scores_are_the_same(
    model: Recommender, spec: Mapping[str, Any], split: Split, folder: Path
) -> None:
    save_model(model, spec, split.item_ids, folder)
    restored, item_ids = load_model(folder, [spec["_target_"]])
    expected = np.asarray(model.score(split.test.history))
    np.testing.assert_array_equal(np.asarray(restored.score(split.test.history)), expected)
    np.testing.assert_array_equal(item_ids, split.item_ids)


def assert_the_state_has_the_shapes_that_the_model_states(model: Recommender, n_items: int) -> None:
    assert isinstance(model, HasShapes)
    headers = {n: Header(a.shape, False, a.dtype) for n, a in model.state().items()}
    refuse_other_arrays(headers, model.shapes(n_items))
    if not isinstance(model, TurboCF):
        with pytest.raises(ValueError, match="must be"):
            refuse_other_arrays(headers, model.shapes(n_items + 1))


def assert_tampered_folders_are_refused(
    model: Recommender, spec: Mapping[str, Any], item_ids: np.ndarray, folder: Path
) -> None:
    """In one line that names the folder, whatever was done to its files."""
    save_model(model, spec, item_ids, folder / "saved")
    kinds = TAMPERINGS | (OF_SPARSE if "indptr" in model.state() else {})
    if isinstance(model, TurboCF):  # it keeps users' rows, which say of no item that it is none
        kinds = {kind: each for kind, each in kinds.items() if kind != "an id more"}
    for number, (kind, (expected, act)) in enumerate(kinds.items()):
        changed = shutil.copytree(folder / "saved", folder / str(number))
        act(changed)
        write_checksums(changed)
        try:
            load_model(changed)
        except InputError as error:
            found = str(error)
        else:
            found = "nothing"
        assert re.search(expected, found), f"{kind}: {found}"
        assert str(changed) in found, f"{kind}: {found}"
        assert "\n" not in found, kind


def assert_widths_beyond_memory_are_refused(spec: Mapping[str, Any], train: CSR) -> None:
    """Each width alone, far above what any machine has."""
    for name in (name for name, value in spec.items() if "_dim" in name and value is not None):
        wide = [10**10] if isinstance(spec[name], list) else 10**10
        with pytest.raises(InputError, match=rf"; lower .*model\.{name}"):
            fitted({**spec, name: wide}, train)


def assert_inputs_are_untouched(spec: Mapping[str, Any], split: Split) -> None:
    train, history = split.train.copy(), split.valid.history.copy()
    fitted(spec, train).score(history)
    for mine, theirs in ((train, split.train), (history, split.valid.history)):
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(mine, part), getattr(theirs, part))


def assert_a_planted_pattern_is_learned(model: Recommender, split: Split, least: float) -> None:
    """Ranks held-out items at least `least` times as well as a random order."""
    evaluator = Evaluator(k=[10], metrics=["ndcg"], batch_size=50, objective=None)
    random = np.random.default_rng(0)
    by_chance = evaluator.evaluate(lambda rows: random.random(rows.shape), split.test)
    learned = evaluator.evaluate(model.score, split.test)
    assert learned.means["ndcg@10"] > least * by_chance.means["ndcg@10"]


def assert_it_stops_when_told_to(spec: Mapping[str, Any], train: CSR) -> None:
    epochs: list[int] = []

    def on_epoch(epoch: int, _losses: Mapping[str, float]) -> bool:
        epochs.append(epoch)
        return epoch < 1

    model: Recommender = build(spec, "model")
    model.fit(train, on_epoch, Seeds(1))
    assert epochs == ([0, 1] if "n_epochs" in spec else [0])  # a closed form has one epoch


def assert_scoring_before_fitting_is_refused(spec: Mapping[str, Any], history: CSR) -> None:
    with pytest.raises(RuntimeError, match="fit"):
        build(spec, "model").score(history)


def assert_a_loss_goes_with_its_training_names(spec: Mapping[str, Any], split: Split) -> None:
    model: Recommender = build(spec, "model")
    trained: dict[str, float] = {}

    def on_epoch(_epoch: int, losses: Mapping[str, float]) -> bool:
        trained.update(losses)
        return False

    model.fit(split.train, on_epoch, Seeds(1))
    if isinstance(model, HasLoss):
        parts = model.loss(split.valid.history)
        assert "loss" in parts
        assert parts.keys() <= trained.keys()
        assert all(np.isfinite(value) for value in parts.values())
