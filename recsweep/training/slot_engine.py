"""A network's training on an accelerator, or beside others: one slot of a compiled program.

It has the methods of `engine.Engine`, whose docstring says what a network is. Besides those, a
network may have

    adds_l2  True: the loss without `l2` among its inputs, plus the part `l2`, is the loss with it
    blocks   path of a weight -> equal parts of its last axis, each widened by itself
    fill     path of a weight -> what widens it; 0 by default

so that networks of different widths fit into the same arrays: with zeros beyond the narrower one's
weights, neither its outputs nor its gradients change.
"""

import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from recsweep.interfaces import CSR, Ranking, State, Tensor
from recsweep.training import layout, slots
from recsweep.training.backend import Values, with_values
from recsweep.training.batches import DenseBatch, Epochs, round_up
from recsweep.training.layout import MULTIPLE
from recsweep.training.optimizers import Optimizer
from recsweep.training.phases import EpochPlan
from recsweep.training.programs import call_program
from recsweep.training.resident import Rows, resident, upload
from recsweep.training.slot_programs import Steps, Watched, scores_of

SCORES_BYTES = 1 << 29
"""Size of the scores of all slots of a bank that are ranked at a time."""

_lock = threading.Lock()
_templates: "weakref.WeakValueDictionary[Hashable, Any]" = weakref.WeakValueDictionary()
"""Networks and plans in the shapes of a program, as long as one refers to them."""


def padded_width(n_items: int) -> int:
    """Columns of a catalogue in dense batches."""
    return round_up(n_items, MULTIPLE)


class SlotEngine:
    """A network's weights in training.

    Args:
        network: The network with its initial weights.
        optimizer: The optimizer.
        n_rows: Users per batch.
        key: Equal for trainings that can share a program, up to the optimizer's constants.
        widen: Makes a network as wide as that program; called once per program.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: Optimizer,
        n_rows: int,
        key: Hashable,
        widen: Callable[[], keras.Model],
    ) -> None:
        self._key = (key, type(network), n_rows, optimizer.constants())
        self._template, self._plan = self._templates(optimizer, widen)
        self._n_rows = n_rows
        self._network = network
        self._weights = self._widened([np.asarray(v) for v in network.trainable_variables])
        self._kept: list[Tensor] | None = None
        self._watched: Watched | tuple[()] = ()
        self._bank: slots.Bank | None = None
        self._slot, self._is_to_keep, self._has_kept = -1, False, False
        self.ranking: Ranking | None = None

    def _templates(
        self, optimizer: Optimizer, widen: Callable[[], keras.Model]
    ) -> tuple[keras.Model, EpochPlan]:
        """The program's network and plan; trainings that begin together share them."""
        with _lock:
            network, plan = (_templates.get((self._key, kind)) for kind in ("network", "plan"))
            if network is None or plan is None:
                network = widen()
                plan = EpochPlan(network, optimizer.build)
                _templates[self._key, "network"] = network
                _templates[self._key, "plan"] = plan
            return network, plan

    @property
    def n_passes(self) -> int:
        """Passes over the users in an epoch."""
        return self._plan.n_passes

    # --- training --------------------------------------------------------------------------------

    def watch(self, history: CSR, target: CSR, k: int) -> None:
        """Rank a fold at the end of each epoch; the result is in `ranking`.

        Args:
            history: What users are ranked by.
            target: What was held out of them.
            k: Length of the lists.
        """
        self._watched = _watched(history, target, k)

    def train_epoch(
        self,
        epochs: Epochs,
        epoch: int,
        hyper: Mapping[str, Float[np.ndarray, " steps"]],
        rates: Float[np.ndarray, " steps"],
    ) -> dict[str, float]:
        """Train the epoch of this number.

        Args:
            epochs: The order of users in each epoch.
            epoch: Its index.
            hyper: The loss's inputs at each step.
            rates: Learning rate of each step.

        Returns:
            Loss parts, means per user over the epoch.
        """
        rows = epochs.rows(epoch)
        if self._bank is None:
            self._join(epochs.train, tuple(sorted(hyper)))
        assert self._bank is not None  # noqa: S101 - joined
        last = {name: values[-1] for name, values in hyper.items()}
        request = slots.Request(Steps(rows, dict(hyper), rates), last, self._is_to_keep)
        answer = self._bank.advance(self._slot, request)
        self._is_to_keep = False
        if self._watched and answer.ranked:
            ranked, n_users = answer.ranked, int(self._watched.n_users)
            self.ranking = Ranking(
                ranked.items[:n_users], ranked.hits[:n_users],
                {name: float(total) / n_users for name, total in ranked.losses.items()},
                bool(ranked.is_finite), answer.seconds,
            )  # fmt: skip
        return self._plan.means(answer.parts, (rows < epochs.train.shape[0]).sum(axis=1))

    def _join(self, train: CSR, inputs: tuple[str, ...]) -> None:
        program = slots.Program(
            code=(self._key, inputs, bool(self._watched)),
            network=self._template,
            plan=self._plan,
            train=resident(train, padded_width(train.shape[1])),
            watched=self._watched,
        )
        other = [np.asarray(v) for v in self._network.non_trainable_variables]
        self._bank, self._slot = slots.join(program, program.begin(self._weights, other))

    def keep(self) -> None:
        """Keep the current weights, in place of earlier ones."""
        if self._bank is None:
            self._kept = self._weights
        else:
            self._has_kept = self._is_to_keep = True

    def return_to_kept(self) -> None:
        """Replace the weights by the kept ones; only between trainings."""
        if self._kept is not None:
            self._weights, self._kept = self._kept, None

    def leave(self) -> None:
        """End the training: its slot is free for another one."""
        bank, self._bank = self._bank, None
        if bank is None:
            return
        try:
            if not bank.is_broken:
                self._weights = bank.weights(self._slot)
                if self._has_kept:
                    is_now = self._is_to_keep
                    self._kept = self._weights if is_now else bank.weights(self._slot, kept=True)
        finally:
            bank.leave(self._slot)
            self._is_to_keep = self._has_kept = False
            if layout.current() is layout.ALONE:
                slots.free()

    # --- scores and weights ----------------------------------------------------------------------

    def loss(self, rows: CSR, hyper: Mapping[str, float]) -> dict[str, float]:
        """Loss parts of whole rows without noise, means per user."""
        constants = {name: np.float32(value) for name, value in hyper.items()}
        totals: dict[str, float] = {}
        for start in range(0, rows.shape[0], self._n_rows):
            some = rows[start : start + self._n_rows]
            parts = call_program(
                ("dense loss", self._key), self._loss_program,
                self._current(), _dense(some, self._n_rows), constants,
            )  # fmt: skip
            for name, part in parts.items():
                share = some.shape[0] / rows.shape[0]
                totals[name] = totals.get(name, 0.0) + share * float(part)
        return totals

    def scores(self, history: CSR) -> Tensor:
        """Scores of every item for each row of `history`: users × items, on the device."""
        return call_program(
            ("dense scores", self._key, history.shape), lambda: self._scores_program(history.shape),
            self._current(), _dense(history, round_up(history.shape[0], 8)),
        )  # fmt: skip

    def _loss_program(self) -> Callable[..., Any]:
        network = self._template
        return jax.jit(
            lambda values, batch, hyper: with_values(
                network, values, lambda: network(batch, hyper=hyper, training=False)
            )
        )

    def _scores_program(self, shape: tuple[int, int]) -> Callable[..., Any]:
        network, (n_users, n_items) = self._template, shape
        return jax.jit(lambda values, batch: scores_of(network, values, batch)[:n_users, :n_items])

    def _current(self) -> Values:
        """The weights without the optimizer's state."""
        weights = self._weights if self._bank is None else self._bank.weights(self._slot)
        other = [jnp.asarray(v) for v in self._network.non_trainable_variables]
        return Values([jnp.asarray(w) for w in weights], other, [])

    def state(self) -> State:
        """The weights, as copies, without what they were widened by."""
        return {
            variable.path: _narrowed(np.array(wide), variable.shape, self._blocks(variable.path))
            for variable, wide in zip(
                self._network.trainable_variables, self._current().trainable, strict=True
            )
        }

    def restore(self, state: State) -> None:
        """Load weights returned by `state`."""
        paths = [variable.path for variable in self._network.trainable_variables]
        self._weights = self._widened([state[path] for path in paths])

    def _widened(self, weights: list[np.ndarray]) -> list[Tensor]:
        fill = getattr(self._network, "fill", {})
        return [
            _widened(small, wide.shape, self._blocks(wide.path), fill.get(wide.path, 0.0))
            for small, wide in zip(weights, self._template.trainable_variables, strict=True)
        ]

    def _blocks(self, path: str) -> int:
        return int(getattr(self._network, "blocks", {}).get(path, 1))


def _places(
    small: tuple[int, ...], wide: tuple[int, ...], n_blocks: int
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Where each block of a weight is in the narrow and in the wide array."""
    others, size, step = small[:-1], small[-1] // n_blocks, wide[-1] // n_blocks
    before = tuple(slice(0, n) for n in others)
    return [
        ((*before, slice(i * size, (i + 1) * size)), (*before, slice(i * step, i * step + size)))
        for i in range(n_blocks)
    ]


def _widened(small: np.ndarray, shape: tuple[int, ...], n_blocks: int, fill: float) -> np.ndarray:
    if small.shape == tuple(shape):
        return small
    wide = np.full(shape, fill, small.dtype)
    for narrow_place, wide_place in _places(small.shape, tuple(shape), n_blocks):
        wide[wide_place] = small[narrow_place]
    return wide


def _narrowed(wide: np.ndarray, shape: tuple[int, ...], n_blocks: int) -> np.ndarray:
    small = np.empty(tuple(shape), wide.dtype)
    for narrow_place, wide_place in _places(tuple(shape), wide.shape, n_blocks):
        small[narrow_place] = wide[wide_place]
    return small


def _dense(rows: CSR, n_rows: int) -> DenseBatch:
    """Rows of a matrix as one dense batch on the device."""
    numbers = np.minimum(np.arange(n_rows), rows.shape[0]).astype(np.int32)
    sparse = upload(rows, padded_width(rows.shape[1]), limit_bytes=0)
    values = call_program("dense rows", lambda: jax.jit(lambda r, n: r.take(n)), sparse, numbers)
    return DenseBatch(values, (numbers < rows.shape[0]).astype(np.float32))


def _patterns(history: CSR, target: CSR, width: int) -> tuple[()] | tuple[Rows, Rows]:
    """Both with 1 at each interaction, or nothing if no value is 0, which would hide one."""
    if history.data.all() and target.data.all():
        return ()
    ones = [
        sp.csr_matrix((np.ones(each.nnz, np.float32), each.indices, each.indptr), each.shape)
        for each in (history, target)
    ]
    return upload(ones[0], width), upload(ones[1], width)


_folds_lock = threading.Lock()
_folds: dict[tuple[int, ...], Watched] = {}
"""Folds in the device's memory, by the ids of their matrices on the host, lists and slots."""


def _watched(history: CSR, target: CSR, k: int) -> Watched:
    """A fold in the device's memory, as long as the host's exists."""
    n_slots = layout.current().slots_per_bank
    key = (id(history), id(target), k, n_slots)
    with _folds_lock:
        if key in _folds:
            return _folds[key]
        n_users, n_items = history.shape
        width = padded_width(n_items)
        at_once = max(1, min(n_users, SCORES_BYTES // (4 * width * n_slots)))
        n_chunks = -(-n_users // at_once)
        at_once = -(-n_users // n_chunks)
        numbers = np.minimum(np.arange(n_chunks * at_once), n_users).astype(np.int32)
        _folds[key] = Watched(
            resident(history, width), resident(target, width),
            jnp.asarray(numbers.reshape(n_chunks, at_once)),
            np.int32(n_users), np.int32(n_items), jnp.arange(k, dtype=jnp.int32),
            _patterns(history, target, width),
        )  # fmt: skip
        for matrix in (history, target):
            weakref.finalize(matrix, _folds.pop, key, None)
        return _folds[key]
