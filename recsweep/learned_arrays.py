"""The state of models that learn only a few arrays, or a sparse matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsweep.interfaces import CSR, State

CSR_PARTS = ("data", "indices", "indptr")


def sparse_arrays(matrix: CSR) -> dict[str, np.ndarray]:
    """The arrays of a sparse matrix, by name."""
    return {name: getattr(matrix, name) for name in CSR_PARTS}


def sparse_shapes(n_rows: int | str) -> dict[str, tuple[int | str, ...]]:
    """The shapes of a sparse matrix' arrays.

    Args:
        n_rows: Its rows, or a word for any number of them, see `recsweep.interfaces.Shapes`.
    """
    starts = n_rows + 1 if isinstance(n_rows, int) else f"{n_rows}+1"
    return {"data": ("entries",), "indices": ("entries",), "indptr": (starts,)}


def sparse_matrix(arrays: Mapping[str, Any], n_columns: int) -> CSR:
    """The matrix with these arrays; others beside them are ignored."""
    parts = tuple(arrays[name] for name in CSR_PARTS)
    return sp.csr_matrix(parts, shape=(len(parts[2]) - 1, n_columns))


class LearnedArrays:
    """Provides a recommender's `state` and `restore`, and an error if it is not fitted.

    A subclass sets `self.learned` in its `fit` and reads it in its `score`. The arrays may be on a
    device: they are copied to the host when `state` is called first.
    """

    _learned: dict[str, Any] | None = None
    _on_host: State | None = None
    _kept: dict[str, Any] | None = None

    @property
    def learned(self) -> dict[str, Any]:
        """The named arrays, of NumPy or of a device.

        Raises:
            RuntimeError: The model is not fitted.
        """
        if self._learned is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._learned

    @learned.setter
    def learned(self, arrays: dict[str, Any]) -> None:
        self._learned, self._on_host = arrays, None

    def forget(self) -> None:
        """Free the arrays before new ones are created: two sets may not fit into memory."""
        self._learned = self._on_host = self._kept = None

    def keep(self) -> None:
        """Keep the arrays as they are now; a later fit must make new ones."""
        self._kept = self.learned

    def return_to_kept(self) -> None:
        """Replace the arrays by the kept ones."""
        if self._kept is not None and self._kept is not self._learned:
            self.learned = self._kept
        self._kept = None

    def state(self) -> State:
        """The learned arrays, as NumPy arrays."""
        if self._on_host is None:
            self._on_host = {name: np.asarray(array) for name, array in self.learned.items()}
        return dict(self._on_host)

    def restore(self, state: State) -> None:
        """Load the state of another instance with the same settings.

        This instance's own state changes nothing: what is on a device stays there.
        """
        own = self._on_host
        if own is None or state.keys() != own.keys() or any(state[n] is not own[n] for n in own):
            self.learned = state
