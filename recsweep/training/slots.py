"""Trainings that advance together: each has a slot in one compiled program, an epoch at a time.

A training runs in a thread of its own and calls `Bank.advance` for each of its epochs. The call
waits until every training of the bank has asked for its next epoch; the last one runs the program
for all. Trainings join and leave at any time, and neither changes what the others compute.
"""

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from recsweep.training import layout
from recsweep.training.backend import Values
from recsweep.training.phases import EpochPlan
from recsweep.training.programs import call_program
from recsweep.training.resident import Rows
from recsweep.training.slot_programs import (
    Ranked,
    Steps,
    Trainings,
    Watched,
    advance_of,
    empty_trainings,
    place_of,
    take_of,
)


class Request(NamedTuple):
    """What a training asks for: one epoch.

    Args:
        steps: Its inputs; leading axis `steps`.
        constants: The loss's inputs for the ranked fold: those of the last step.
        keep: Whether to keep the weights that the epoch begins with.
    """

    steps: Steps
    constants: dict[str, Any]
    keep: bool


class Answer(NamedTuple):
    """The end of a training's epoch, on the host.

    Args:
        parts: Loss parts by step, for each stage.
        ranked: The watched fold, without the axis of slots; () = nothing is watched.
        seconds: Duration of the program, divided by the trainings that it advanced.
    """

    parts: list[dict[str, np.ndarray]]
    ranked: Ranked | tuple[()]
    seconds: float


@dataclass
class Program:
    """What the trainings of a bank have in common.

    Args:
        code: Equal for equal compiled programs.
        network: A network with the shapes of all of them.
        plan: The stages of its epochs.
        train: Training interactions.
        watched: The fold to rank after each epoch; () = none.
    """

    code: Hashable
    network: keras.Model
    plan: EpochPlan
    train: Rows
    watched: Watched | tuple[()]

    @property
    def key(self) -> Hashable:
        """Equal for trainings that can share a bank: code and data."""
        return self.code, id(self.train), id(self.watched)

    def begin(self, trainable: list[np.ndarray], other: list[Any]) -> Values:
        """The arrays of a new training, on the device.

        Args:
            trainable: Weights, in the shapes of the network.
            other: Counters of its random number streams.
        """
        fresh = [ops.convert_to_tensor(v) for v in self.plan.variables]
        return Values([jnp.asarray(w) for w in trainable], [jnp.asarray(o) for o in other], fresh)


@dataclass(eq=False)
class Bank:
    """The slots of one program.

    Args:
        program: What its trainings have in common.
        n_slots: Their largest number.
    """

    program: Program
    n_slots: int
    is_broken: bool = False
    _trainings: Trainings | None = None
    _members: dict[int, int] = field(default_factory=dict)  # slot -> its thread
    _asked: dict[int, Request] = field(default_factory=dict)
    _answers: dict[int, Answer | BaseException] = field(default_factory=dict)
    _is_busy: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def n_members(self) -> int:
        """Trainings that it has now."""
        return len(self._members)

    def has_room(self) -> bool:
        """Whether this thread can have a slot: it would wait for itself if it had one already."""
        is_member = threading.get_ident() in self._members.values()
        return not (self.is_broken or is_member) and self.n_members < self.n_slots

    def reserve(self) -> int:
        """The number of a free slot, which must be there; the others wait for its training."""
        with self._changed:
            slot = min(set(range(self.n_slots)) - self._members.keys())
            self._members[slot] = threading.get_ident()
            return slot

    def place(self, slot: int, values: Values) -> bool:
        """Put a new training into its reserved slot.

        Returns:
            Whether it is there: a bank whose program has failed meanwhile takes no more trainings.
        """
        with self._changed:
            while self._is_busy:
                self._changed.wait()
            if self.is_broken:
                return False
            if self._trainings is None:
                self._trainings = empty_trainings(values, self.n_slots)
            self._trainings = call_program(
                ("place", self.program.code), place_of, self._trainings, np.int32(slot), values
            )
            return True

    def leave(self, slot: int) -> None:
        """End a training; the others continue."""
        with self._changed:
            self._members.pop(slot, None)
            self._asked.pop(slot, None)
            self._changed.notify_all()

    def weights(self, slot: int, *, kept: bool = False) -> list[Any]:
        """A copy of a training's weights, kept or current, on the device."""
        with self._changed:
            assert self._trainings is not None  # noqa: S101 - a member has been placed
            arrays = self._trainings.kept if kept else self._trainings.values.trainable
            weights: list[Any] = call_program(
                ("take", self.program.code), take_of, arrays, np.int32(slot)
            )
            return weights

    def advance(self, slot: int, request: Request) -> Answer:
        """Train one epoch, together with the others.

        Args:
            slot: The training's slot.
            request: Its epoch.

        Raises:
            BaseException: The program failed or was interrupted; all trainings of the bank get the
                same error.
        """
        with self._changed:
            self._asked[slot] = request
            self._changed.notify_all()
        while True:
            with self._changed:
                while slot not in self._answers and not self._is_complete():
                    self._changed.wait()
                if slot in self._answers:
                    answer = self._answers.pop(slot)
                    break
                asked, self._asked, self._is_busy = self._asked, {}, True
            try:
                answers = self._run(asked)
            except BaseException as error:  # noqa: BLE001 - each training raises it in its thread
                self.is_broken = True  # the program may have freed the weights
                answers = dict.fromkeys(asked, error)
            with self._changed:
                self._answers.update(answers)
                self._is_busy = False
                self._changed.notify_all()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _is_complete(self) -> bool:
        """Whether every training has asked for its epoch, and none runs."""
        return not self._is_busy and bool(self._asked) and len(self._asked) == len(self._members)

    def _run(self, asked: dict[int, Request]) -> dict[int, Any]:
        """Run one epoch of these slots."""
        began = time.perf_counter()
        first = next(iter(asked.values()))
        of_slots = [asked.get(slot, first) for slot in range(self.n_slots)]
        steps, constants = (
            jax.tree.map(lambda *each: np.stack(each), *[getattr(r, name) for r in of_slots])
            for name in ("steps", "constants")
        )
        keep = np.array([slot in asked and asked[slot].keep for slot in range(self.n_slots)])
        self._trainings, *outputs = call_program(
            ("advance", self.program.code),
            lambda: advance_of(self.program.network, self.program.plan),
            self._trainings, keep, (self.program.train, self.program.watched), steps, constants,
        )  # fmt: skip
        parts, ranked = jax.device_get(outputs)
        seconds = (time.perf_counter() - began) / len(asked)

        def answer(slot: int) -> Answer:
            own_parts, own_ranked = jax.tree.map(lambda each: each[slot], (parts, ranked))
            return Answer(own_parts, own_ranked, seconds)

        return {slot: answer(slot) for slot in asked}


_banks: list[Bank] = []
_lock = threading.Lock()


def join(program: Program, values: Values) -> tuple[Bank, int]:
    """A slot for a new training; banks that no training needs any more are freed.

    Args:
        program: The training's program.
        values: Its arrays.
    """
    while True:
        bank, slot = _reserve(program)
        try:
            if bank.place(slot, values):
                return bank, slot
        except BaseException:
            bank.leave(slot)
            raise
        bank.leave(slot)


def _reserve(program: Program) -> tuple[Bank, int]:
    """A free slot, in a new bank if there is none."""
    own = layout.current()
    with _lock:
        fitting = [
            bank for bank in _banks
            if (bank.program.key, bank.n_slots) == (program.key, own.slots_per_bank)
        ]  # fmt: skip
        _banks[:] = [b for b in _banks if b.n_members or (b in fitting and not b.is_broken)]
        free = [bank for bank in fitting if bank.has_room()]
        if len(fitting) < own.n_banks or not free:
            free = [Bank(program, own.slots_per_bank)]
            _banks.extend(free)
        bank = min(free, key=lambda each: each.n_members)
        return bank, bank.reserve()


def free() -> None:
    """Free the device's memory of all banks without a training."""
    with _lock:
        _banks[:] = [bank for bank in _banks if bank.n_members]
