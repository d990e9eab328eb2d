"""How this process trains networks: sparse batches of one training, or dense ones of several.

On a CPU a training reads sparse batches. On an accelerator, or where a process has several slots,
it reads dense ones, and all trainings with the same program advance together, see `slots`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from recsweep import environment
from recsweep.training.backend import name

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
    """

    n_slots: int = 1
    widest: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

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


_layouts = [Layout()]


@contextmanager
def use(layout: Layout) -> Iterator[None]:
    """Set the layout of this process, in all of its threads, within the block."""
    _layouts.append(layout)
    try:
        yield
    finally:
        _layouts.remove(layout)


def current() -> Layout:
    """The layout of this process."""
    return _layouts[-1]


def is_dense() -> bool:
    """Whether trainings read dense batches."""
    if name() != "jax":
        return False
    return current().n_slots > 1 or environment.device() != "cpu"
