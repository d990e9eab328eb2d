"""RDLAE: EDLAE whose diagonal is bounded instead of zero (Moon et al. 2023)."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT
from recsweep.models.ease import EASE


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class RDLAE(EASE):
    """EASE's objective, with dropout, over all B with a diagonal of at most `xi`.

    A column whose diagonal the penalty keeps below `xi` is not constrained at all.

    Args:
        xi: The bound: 0 = EDLAE, or EASE without dropout; 1 = none, a denoising autoencoder.

    Source:
        Moon, Kim & Lee: It's Enough: Relaxing Diagonal Constraints in Linear Autoencoders for
        Recommendation. SIGIR 2023; without dropout it is the paper's RLAE.
    """

    xi: Annotated[float, Field(ge=0, le=1)]

    def largest_self_weight(self) -> float:
        """The bound."""
        return self.xi
