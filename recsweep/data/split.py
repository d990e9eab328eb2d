"""What a protocol hands to models and evaluation: train, and two held-out folds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsweep.data.matrix import fingerprint, matrix_arrays
from recsweep.errors import InputError
from recsweep.interfaces import CSR


@dataclass(frozen=True)
class Fold:
    """Users of whom a part is shown and the rest must be ranked.

    Args:
        history: What the model may see, users × items; never recommended again.
        target: What it must rank, users × items; disjoint from `history`.
        user_ids: Original ids, in the rows' order.
    """

    history: CSR
    target: CSR
    user_ids: np.ndarray


@dataclass(frozen=True)
class Split:
    """Training data and the two held-out folds, over one item axis.

    Args:
        train: Users × items.
        train_user_ids: Original ids, in the rows' order.
        valid: For choosing epochs and hyperparameters.
        test: For the final report alone.
        item_ids: Original ids, in the columns' order.
        data_fingerprint: Of the interactions that were split.
    """

    train: CSR
    train_user_ids: np.ndarray
    valid: Fold
    test: Fold
    item_ids: np.ndarray
    data_fingerprint: str

    def __post_init__(self) -> None:
        for name, fold in (("validation", self.valid), ("test", self.test)):
            if not fold.target.nnz:
                raise InputError(
                    f"somebody must have an item to rank in {name}, but once items that training "
                    "does not know are dropped nobody has; hold more out, or use more data"
                )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that a model or a metric can see."""
        ids = (self.train_user_ids, self.valid.user_ids, self.test.user_ids, self.item_ids)
        return fingerprint(*ids, *(array for m in self.matrices for array in matrix_arrays(m)))

    @property
    def matrices(self) -> tuple[CSR, CSR, CSR, CSR, CSR]:
        """Train, then history and target of validation and of test."""
        valid, test = self.valid, self.test
        return self.train, valid.history, valid.target, test.history, test.target

    def profile(self) -> dict[str, int]:
        """Sizes for people to read and for MLflow to keep."""
        return {
            "n_items": self.train.shape[1],
            "n_train_users": self.train.shape[0],
            "n_train_interactions": self.train.nnz,
            "n_valid_users": self.valid.history.shape[0],
            "n_valid_targets": self.valid.target.nnz,
            "n_test_users": self.test.history.shape[0],
            "n_test_targets": self.test.target.nnz,
        }
