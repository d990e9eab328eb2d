"""What a model has learned, for models that learn a few arrays and nothing else."""

from recsweep.interfaces import State


class LearnedArrays:
    """Gives a recommender its `state` and `restore`, and an error before it is fitted.

    A subclass sets `self.learned` in its `fit` and reads it in its `score`.
    """

    _learned: State | None = None

    @property
    def learned(self) -> State:
        """Named arrays.

        Raises:
            RuntimeError: There are none yet.
        """
        if self._learned is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._learned

    @learned.setter
    def learned(self, arrays: State) -> None:
        self._learned = arrays

    def forget(self) -> None:
        """Let the arrays go before others are made: two sets of them may not fit into memory."""
        self._learned = None

    def state(self) -> State:
        """What the model has learned."""
        return self.learned

    def restore(self, state: State) -> None:
        """Take over what another instance with the same settings has learned."""
        self.learned = state
