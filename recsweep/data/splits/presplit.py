"""Data that is already split and used as is.

    train.csv         ──▶ train             x x . x .
    validation_tr.csv ──▶ valid.history     x . . x .
    validation_te.csv ──▶ valid.target      . . x . .
    test_tr.csv       ──▶ test.history      . x . . x
    test_te.csv       ──▶ test.target       . . . x .

The names are those of `data=liang`; each part has its own users, unless the source allows users
in several parts. `recsweep.data.leaks` checks for leaked targets.
"""

from pydantic.dataclasses import dataclass

from recsweep.data.interactions import Interactions
from recsweep.data.split import Split, Splitter
from recsweep.errors import InputError
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Presplit(Splitter):
    """Uses the split that comes with the data set."""

    def split(self, data: Interactions | Split) -> Split:
        """Return `data` itself.

        Raises:
            InputError: The data set is not split.
        """
        if not isinstance(data, Split):
            raise InputError(
                "split=presplit needs data that comes already split (data=liang or lightgcn), but "
                "this data set is one table of interactions; use split=strong or split=weak"
            )
        return data
