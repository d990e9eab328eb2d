"""One trial: the best epoch's weights are kept, and whoever listens may stop it."""

import inspect
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import scipy.sparse as sp

from recsweep.data.split import Fold
from recsweep.errors import InputError, TrainingDivergedError
from recsweep.evaluation import Evaluation, Evaluator
from recsweep.fitting import FitResult, Patience, fit_best_epoch, refit
from recsweep.interfaces import CSR, OnEpoch, Recommender, State
from recsweep.seeds import Seeds

N_ITEMS = 6
WANTED = 5
"""The one item that every validation user must be recommended."""


class Scripted:
    """Puts the wanted item on a given rank in each epoch: its learning curve is on the page."""

    def __init__(self, ranks: list[int]) -> None:
        self.ranks = ranks
        self.rank = -1
        self.seeds: Seeds | None = None

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        assert train.shape == (4, N_ITEMS)
        self.seeds = seeds
        for epoch, rank in enumerate(self.ranks):
            self.rank = rank
            if not on_epoch(epoch, {"loss": 10.0 - epoch}):
                return

    def score(self, history: CSR) -> np.ndarray:
        scores = -np.arange(N_ITEMS, dtype=np.float32)
        scores[WANTED] = 0.5 - self.rank  # rank 0 = above item 0, which comes first otherwise
        return np.tile(scores, (history.shape[0], 1))

    def loss(self, rows: CSR) -> dict[str, float]:
        return {"loss": float(rows.sum())}

    def state(self) -> State:
        return {"rank": np.array(self.rank)}

    def restore(self, state: State) -> None:
        self.rank = int(state["rank"])


def fold() -> Fold:
    """Three users without history; each must be recommended the wanted item."""
    target = np.zeros((3, N_ITEMS), np.float32)
    target[:, WANTED] = 1
    nothing = sp.csr_matrix((3, N_ITEMS), dtype=np.float32)
    return Fold(nothing, sp.csr_matrix(target), np.arange(3))


def trial(model: Recommender, *listeners: Callable[[int, Mapping[str, float]], bool]) -> FitResult:
    evaluator = Evaluator(k=[5], metrics=["mrr"], batch_size=2, objective=None)
    train = sp.csr_matrix(np.ones((4, N_ITEMS), np.float32))
    return fit_best_epoch(model, train, fold(), evaluator, Seeds(1), listeners)


def test_the_model_ends_with_the_weights_of_its_best_epoch() -> None:
    model = Scripted([3, 1, 0, 2, 4])
    result = trial(model)
    assert model.rank == 0
    assert result.best_epoch == 2
    assert result.valid.means == {"mrr@5": 1.0}
    curve = [epoch["valid/mrr@5"] for epoch in result.curves]
    assert curve == pytest.approx([1 / 4, 1 / 2, 1, 1 / 3, 1 / 5])


def test_the_first_of_equally_good_epochs_is_kept() -> None:
    assert trial(Scripted([2, 1, 1, 1])).best_epoch == 1


def test_an_objective_of_zero_is_an_epoch_too() -> None:
    model = Scripted([5, 5])
    assert trial(model).best_epoch == 0


def test_patience_counts_epochs_without_gain() -> None:
    ranks = [4, 3, 3, 4, 2, 3, 3, 3, 0]
    model = Scripted(ranks)
    result = trial(model, Patience(3, "mrr@5"))
    assert len(result.curves) == 8, "epochs 5, 6 and 7 gain nothing on epoch 4"
    assert (result.best_epoch, model.rank) == (4, 2)
    assert len(trial(Scripted(ranks), Patience(None, "mrr@5")).curves) == len(ranks)


def test_a_listener_stops_the_training_and_the_others_still_hear() -> None:
    heard: list[tuple[int, float]] = []

    def stop_at_once(_epoch: int, _metrics: Mapping[str, float]) -> bool:
        return False

    def hear(epoch: int, metrics: Mapping[str, float]) -> bool:
        heard.append((epoch, metrics["valid/mrr@5"]))
        return True

    assert len(trial(Scripted([1, 0]), stop_at_once, hear).curves) == 1
    assert heard == [(0, 0.5)]


def test_curves_hold_losses_metrics_and_seconds() -> None:
    curve = trial(Scripted([0])).curves[0]
    assert set(curve) == {
        "train/loss", "valid/loss", "valid/mrr@5", "epoch_s", "evaluate_s",
    }  # fmt: skip
    assert curve["train/loss"] == 10.0
    assert curve["valid/loss"] == 3.0, "the loss is of history and target together"


def test_the_model_is_given_the_experiments_seeds() -> None:
    model = Scripted([0])
    trial(model)
    assert model.seeds == Seeds(1)


def test_a_model_that_never_reports_an_epoch_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="must call on_epoch at least once"):
        trial(Scripted([]))


class CountsFromOne(Scripted):
    """Reports its first epoch as epoch 1."""

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        super().fit(train, lambda epoch, losses: on_epoch(epoch + 1, losses), seeds)


def test_epochs_are_counted_from_0() -> None:
    with pytest.raises(
        InputError, match=r"with 0, 1, 2, … in order, but calls it with 1 after 0 epochs"
    ):
        trial(CountsFromOne([0, 1]))


def test_a_trial_has_no_way_to_see_the_test_set() -> None:
    assert list(inspect.signature(fit_best_epoch).parameters) == [
        "model", "train", "valid", "evaluator", "seeds", "listeners",
    ]  # fmt: skip


class Broken(Scripted):
    """Like it, but one of its numbers is not finite."""

    def __init__(self, ranks: list[int], where: str) -> None:
        super().__init__(ranks)
        self.where = where

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        def with_kl(epoch: int, losses: Mapping[str, float]) -> bool:
            is_broken = self.where == "train/kl" and epoch == 1
            return on_epoch(epoch, {**losses, "kl": np.inf if is_broken else 0.0})

        super().fit(train, with_kl, seeds)

    def loss(self, rows: CSR) -> dict[str, float]:
        return {"loss": np.nan if self.where == "valid/loss" else float(rows.sum())}

    def state(self) -> State:
        unused = np.array([np.nan if self.where == "weights" else 0.0])
        return {**super().state(), "unused": unused}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("train/kl", "train/kl must be finite, but is inf in epoch 2; "),
        ("valid/loss", "valid/loss must be finite, but is nan in epoch 2; "),
        ("weights", "weight unused must be finite, but has NaN or infinity in epoch 2; "),
    ],
)
def test_what_no_score_shows_is_refused_too(where: str, expected: str) -> None:
    with pytest.raises(TrainingDivergedError, match=expected):
        trial(Broken([3, 1, 2], where))


def test_an_objective_that_is_no_number_names_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluation, "means", {"mrr@5": np.nan})
    expected = r"^valid/mrr@5 must be finite, but is nan in epoch 1; fix metrics\.mrr$"
    with pytest.raises(TrainingDivergedError, match=expected):
        trial(Scripted([1]))


@pytest.mark.parametrize("where", ["train/kl", "weights"])
def test_a_refit_is_held_to_the_same(where: str) -> None:
    chosen = trial(Scripted([3, 1, 2]))
    train = sp.csr_matrix(np.ones((4, N_ITEMS), np.float32))
    with pytest.raises(TrainingDivergedError, match="in epoch 2; "):
        refit(Broken([3, 1, 2], where), train, chosen, Seeds(1))


class Constant(Scripted):
    """One score for all unseen items, and another for the history; or a better one for one user."""

    l1 = 1000.0

    def __init__(self, is_constant: list[bool]) -> None:
        super().__init__([int(each) for each in is_constant])

    def score(self, history: CSR) -> np.ndarray:
        scores = np.where(history.toarray() > 0, -1, 0).astype(np.float32)
        scores[-1, WANTED] = 1 - self.rank
        return scores


@pytest.mark.parametrize(
    ("is_constant", "is_told"),
    [([True], True), ([True, True], True), ([False], False), ([True, False], False)],
)
def test_equal_scores_of_all_users_are_told_once(
    is_constant: list[bool], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    valid = fold()
    history = sp.csr_matrix(
        np.float32([[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0]])
    )
    valid = Fold(history, valid.target, valid.user_ids)
    evaluator = Evaluator(k=[2], metrics=["mrr"], batch_size=2, objective=None)
    train = sp.csr_matrix(np.ones((4, N_ITEMS), np.float32))
    fit_best_epoch(Constant(is_constant), train, valid, evaluator, Seeds(1))
    expected = (
        "all scores of each validation user are equal, so that the ranking is by item order; "
        "lower model.l1 (now 1000)"
    )
    assert caplog.messages == [expected] * is_told


# --- refit ----------------------------------------------------------------------------------------


def test_a_refit_takes_as_many_epochs_as_were_best_and_chooses_nothing() -> None:
    ranks = [3, 1, 0, 2, 4]
    chosen = trial(Scripted(ranks))
    fresh = Scripted([5, 4, 3, 2, 1])
    result = refit(fresh, sp.csr_matrix(np.ones((4, N_ITEMS), np.float32)), chosen, Seeds(1))
    assert chosen.best_epoch == 2
    assert fresh.rank == 3, "the third epoch's, though later ones would rank better"
    assert fresh.seeds == Seeds(1)
    assert chosen.refit_s is None
    assert result.refit_s is not None
    assert result.refit_s > 0
    assert (result.best_epoch, result.valid, result.curves) == (2, chosen.valid, chosen.curves)


def test_a_refit_after_a_first_best_epoch_stops_there() -> None:
    fresh = Scripted([1, 0])
    refit(fresh, sp.csr_matrix(np.ones((4, N_ITEMS), np.float32)), trial(Scripted([0])), Seeds(1))
    assert fresh.rank == 1
