"""How this process trains networks: sparse batches of one training, or dense ones of several.

On a CPU a training reads sparse batches. On an accelerator, or where a process has several slots,
it reads dense ones, and all trainings with the same program advance together, see `slots`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from recsweep import environment
from recsweep.errors import InputError

MULTIPLE = 64
"""Widths of dense batches are a multiple of this, which suits a GPU's matrix units."""
MIN_SLOTS_PER_BANK = 4
"""A process with twice as many slots has two banks: one computes while the other is reported."""


@dataclass(frozen=True)
class Layout:
    """The slots of a process.

    Args:
        n_slots: Trainings at the same time.
        widest: Class of a model -> settings that make its network wider -> their largest values.
        is_dense: Whether batches are dense even if a single training on a CPU has the process.
    """

    n_slots: int = 1
    widest: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    is_dense: bool = False

    @property
    def n_banks(self) -> int:
        """Groups of slots that advance together."""
        return 2 if self.n_slots >= 2 * MIN_SLOTS_PER_BANK else 1

    @property
    def slots_per_bank(self) -> int:
        """Slots of one group; rounded up."""
        return -(-self.n_slots // self.n_banks)

    def widest_of(self, model: object) -> Mapping[str, int]:
        """The largest values of a model's settings."""
        return self.widest.get(class_name(model), {})


def class_name(thing: object) -> str:
    """The dotted name of an object's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


ALONE = Layout()
"""The layout outside of sweeps: no other training follows in the same program."""
_layouts = [ALONE]


@contextmanager
def use(layout: Layout) -> Iterator[None]:
    """Set the layout of this process, in all of its threads, within the block."""
    _layouts.append(layout)
    try:
        yield
    finally:
        place = max(i for i, each in enumerate(_layouts) if each is layout)  # others may be equal
        del _layouts[place]


def current() -> Layout:
    """The layout of this process."""
    return _layouts[-1]


def is_dense() -> bool:
    """Whether trainings read dense batches."""
    from recsweep.training.backend import name  # loads the backend

    if name() != "jax":
        return False
    own = current()
    return own.is_dense or own.n_slots > 1 or environment.device() != "cpu"


def tags() -> dict[str, str]:
    """What a run's results depend on: dense batches, and the slots beside it; nothing if sparse."""
    return {"batches": "dense", "slots": str(current().n_slots)} if is_dense() else {}


def of_tags(found: Mapping[str, str]) -> Layout:
    """The layout of a run with these tags, see `tags`.

    Raises:
        InputError: The tag is not a number of slots.
    """
    slots = found.get("slots", "1")
    if re.fullmatch("[1-9][0-9]{0,3}", slots, re.ASCII) is None:
        raise InputError(
            f"a run's tag slots must be a number of slots, but is {slots!r:.40}; copy the run's "
            "whole folder again"
        )
    return Layout(int(slots), is_dense=found.get("batches") == "dense")
