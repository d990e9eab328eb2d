"""The common base of gradient-trained recommenders: everything except network and loss."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import CSR, STRICT, OnEpoch, State
from recsweep.seeds import Seeds
from recsweep.training.batches import Epochs, ShuffledEpochs
from recsweep.training.engine import Engine
from recsweep.training.loop import Hyper, constant, train_epochs
from recsweep.training.optimizers import Optimizer

if TYPE_CHECKING:
    import keras


@dataclass(kw_only=True, config=STRICT)
class GradientModel(ABC):
    """A recommender with a network that is trained by the engine.

    Args:
        l2: Weight of Σ‖W‖² in the loss.
        batch_size: Users per step.
        n_epochs: Maximum number of epochs.
        optimizer: The optimizer.
    """

    epochs: ClassVar[type[Epochs]] = ShuffledEpochs
    """Which users an epoch visits."""
    logged: ClassVar[tuple[str, ...]] = ()
    """Inputs of the loss that change between epochs, to be logged."""

    l2: Annotated[float, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=1)]
    n_epochs: Annotated[int, Field(ge=1)]
    optimizer: Optimizer

    def __post_init__(self) -> None:
        self._engine: Engine | None = None
        self._inputs_at(np.array([np.inf]))

    @abstractmethod
    def network(self, n_items: int, seeds: Seeds) -> "keras.Model":
        """A new network, see `recsweep.training.engine`."""

    @abstractmethod
    def n_items(self, state: State) -> int:
        """The catalogue size that a state was trained on."""

    @abstractmethod
    def inputs(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        """The loss's inputs at each step, by name, without l2."""

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Train for `n_epochs`, or until `on_epoch` returns False."""
        self._engine = self._new_engine(train.shape[1], seeds)
        epochs = self.epochs(train, self.batch_size, self.n_epochs, seeds.named("shuffle"))
        train_epochs(self._engine, epochs, self.optimizer, self._inputs_at, on_epoch, self.logged)

    def score(self, history: CSR) -> Any:
        """The network's scores: users × items."""
        return self._fitted().scores(history)

    def loss(self, rows: CSR) -> dict[str, float]:
        """The training loss of whole rows, without noise and with the last step's inputs."""
        return self._fitted().loss(rows, self._last_inputs)

    def state(self) -> State:
        """The network's weights."""
        return self._fitted().state()

    def restore(self, state: State) -> None:
        """Load weights; an unfitted model is built to match their size."""
        if self._engine is None:
            self._engine = self._new_engine(self.n_items(state), Seeds(0))
        self._engine.restore(state)

    def _inputs_at(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        penalty = constant(steps, l2=self.l2) if self.l2 else {}
        inputs = {**self.inputs(steps), **penalty}
        self._last_inputs = {name: float(values[-1]) for name, values in inputs.items()}
        return inputs

    def _new_engine(self, n_items: int, seeds: Seeds) -> Engine:
        return Engine(self.network(n_items, seeds), self.optimizer, self.batch_size)

    def _fitted(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._engine
