"""The common base of gradient-trained recommenders: everything except network and loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.interfaces import CSR, STRICT, OnEpoch, Ranking, Shapes, State, Tensor, Weight
from recsweep.seeds import Seeds
from recsweep.training import layout
from recsweep.training.backend import without_values
from recsweep.training.batches import Epochs, ShuffledEpochs
from recsweep.training.engine import Engine
from recsweep.training.loop import Hyper, constant, train_epochs
from recsweep.training.optimizers import Optimizer

if TYPE_CHECKING:
    import keras

    from recsweep.training.slot_engine import SlotEngine


N_COPIES, N_BATCHES = 6, 8
"""Arrays as large as the weights, and as large as a dense batch, of a training on a device."""


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
    stepwise: ClassVar[tuple[str, ...]] = ()
    """Settings that reach a step only by `inputs`: trials with other values share a program."""
    padded: ClassVar[tuple[str, ...]] = ()
    """Widths inside the network that zeros may fill up to those of a wider one."""

    l2: Weight
    batch_size: Annotated[int, Field(ge=1)]
    n_epochs: Annotated[int, Field(ge=1)]
    optimizer: Optimizer

    def __post_init__(self) -> None:
        self._engine: Engine | SlotEngine | None = None
        self._watch: tuple[CSR, CSR, int] | None = None
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
        self._refuse_beyond_memory(train.shape[1])
        engine = self._engine = self._new_engine(train.shape[1], seeds)
        epochs = self.epochs(
            train, self.batch_size, self.n_epochs, seeds.named("shuffle"), engine.n_passes
        )
        if self._watch is not None:
            self._ranking_engine().watch(*self._watch)
        try:
            train_epochs(engine, epochs, self.optimizer, self._inputs_at, on_epoch, self.logged)
        finally:
            engine.leave()

    def watch(self, history: CSR, target: CSR, k: int) -> bool:
        """Rank this fold after each epoch of the next fit, where batches are dense."""
        self._watch = (history, target, k) if layout.is_dense() else None
        return self._watch is not None

    def ranking(self) -> Ranking:
        """The ranking of the watched fold after the latest epoch."""
        found = self._ranking_engine().ranking
        if found is None:
            raise RuntimeError("a model must train an epoch before it has a ranking; call fit")
        return found

    def keep(self) -> None:
        """Keep the current weights on the device, in place of earlier ones."""
        self._fitted().keep()

    def return_to_kept(self) -> None:
        """Replace the weights by the kept ones."""
        self._fitted().return_to_kept()

    def score(self, history: CSR) -> Tensor:
        """The network's scores: users × items."""
        engine = self._fitted()
        return engine.scores(history) if history.shape[0] else history.toarray()  # no row

    def loss(self, rows: CSR) -> dict[str, float]:
        """The training loss of whole rows, without noise and with the last step's inputs."""
        return self._fitted().loss(rows, self._last_inputs)

    def state(self) -> State:
        """The network's weights."""
        return self._fitted().state()

    def shapes(self, n_items: int) -> Shapes:
        """Those of a new network's weights."""
        with without_values():
            weights = self.network(n_items, Seeds(0)).trainable_variables
        return {variable.path: tuple(variable.shape) for variable in weights}

    def restore(self, state: State) -> None:
        """Load weights; an unfitted model is built to match their size."""
        if self._engine is None:
            self._engine = self._new_engine(self.n_items(state), Seeds(0))
        self._engine.restore(state)

    @classmethod
    def shared_settings(cls) -> tuple[str, ...]:
        """Settings with which trials may differ and yet share a program."""
        return ("l2", "n_epochs", *cls.stepwise, *cls.padded)

    def slot_bytes(self, n_items: int) -> int:
        """Memory on a device that a training beside others needs.

        It holds weights, two moments, the best weights and gradients, and some arrays of a batch.
        """
        network = self.network(n_items, Seeds(0))
        n_weights = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
        n_copies = N_COPIES + hasattr(network, "old")  # the weights that an epoch began with
        return 4 * (n_copies * n_weights + N_BATCHES * self.batch_size * n_items)

    def _inputs_at(self, steps: Float[np.ndarray, " steps"]) -> Hyper:
        inputs = self.inputs(steps)
        if self.l2 or layout.current().n_slots > 1:  # neighbours may have one
            inputs |= constant(steps, l2=self.l2)
        for name in self._widest().keys() & layout.current().widest_of(self).keys():
            inputs |= constant(steps, **{name: getattr(self, name)})
        self._last_inputs = {name: float(values[-1]) for name, values in inputs.items()}
        return inputs

    def _new_engine(self, n_items: int, seeds: Seeds) -> "Engine | SlotEngine":
        network = self.network(n_items, seeds)
        if not layout.is_dense():
            return Engine(network, self.optimizer, self.batch_size)
        from recsweep.training.slot_engine import SlotEngine, padded_width  # imports JAX

        free = {"optimizer", *self.shared_settings()}  # its constants are in the key, too
        fixed = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in free}
        widest = self._widest()
        return SlotEngine(
            network, self.optimizer, self.batch_size,
            (type(self), n_items, str(fixed), tuple(widest.items())),
            lambda: self._like(widest).network(padded_width(n_items), Seeds(0)),
        )  # fmt: skip

    def _refuse_beyond_memory(self, n_items: int) -> None:
        widths = [f"model.{each.name}" for each in fields(self) if "_dim" in each.name]
        try:
            with without_values():
                weights = self.network(n_items, Seeds(0)).trainable_variables
        except ValueError:  # an initial value is an array, so that it cannot be counted without it
            return
        self.optimizer.refuse_beyond_memory(
            sum(math.prod(variable.shape) for variable in weights),
            f"a {type(self).__name__} of {n_items:,} items",
            f"lower {' or '.join(widths) or 'its widths'}, or choose model=mrf",
        )

    def _like(self, changes: Mapping[str, Any]) -> "GradientModel":
        return replace(self, **changes)

    def _widest(self) -> dict[str, int]:
        """The padded settings with the largest values of the search, or the model's own."""
        largest = layout.current().widest_of(self)
        own = {name: getattr(self, name) for name in self.padded}
        return {name: max(n, largest.get(name, 0)) for name, n in own.items() if n is not None}

    def _ranking_engine(self) -> "SlotEngine":
        from recsweep.training.slot_engine import SlotEngine

        engine = self._fitted()
        if not isinstance(engine, SlotEngine):
            raise TypeError("only a training with dense batches ranks by itself; call score")
        return engine

    def _fitted(self) -> "Engine | SlotEngine":
        if self._engine is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._engine
