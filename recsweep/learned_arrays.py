"""The state of models that learn only a few arrays."""

from recsweep.interfaces import State


class LearnedArrays:
    """Provides a recommender's `state` and `restore`, and an error if it is not fitted.

    A subclass sets `self.learned` in its `fit` and reads it in its `score`.
    """

    _learned: State | None = None

    @property
    def learned(self) -> State:
        """The named arrays.

        Raises:
            RuntimeError: The model is not fitted.
        """
        if self._learned is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._learned

    @learned.setter
    def learned(self, arrays: State) -> None:
        self._learned = arrays

    def forget(self) -> None:
        """Free the arrays before new ones are created: two sets may not fit into memory."""
        self._learned = None

    def state(self) -> State:
        """The learned arrays."""
        return self.learned

    def restore(self, state: State) -> None:
        """Load the state of another instance with the same settings."""
        self.learned = state
