"""EDLAE: EASE with dropout of the input, in closed form (Steck 2020)."""

from pydantic.dataclasses import dataclass

from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT
from recsweep.models.ease import EASE


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class EDLAE(EASE):
    """EASE under a name and with defaults of its own: it is `ease` with a `dropout_rate`.

    Source:
        Steck: Autoencoders that don't overfit towards the Identity. NeurIPS 2020, equation 8.
    """
