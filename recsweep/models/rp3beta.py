"""RP3β: P3α, with popular items weighted down (Paudel et al. 2017)."""

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass

from recsweep.data.degrees import degree_powers
from recsweep.defaults import with_defaults
from recsweep.interfaces import STRICT, Weight
from recsweep.models.p3alpha import P3Alpha


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class RP3Beta(P3Alpha):
    """Probabilities of walks, divided by the degree of the item reached to the power of `beta`.

    The weights are applied before the likeliest items are chosen.

    Args:
        beta: Exponent of the degree; 0 = P3α.

    Source:
        Paudel, Christoffel, Newell & Bernstein: Updatable, Accurate, Diverse, and Scalable
        Recommendations for Interactive Applications. ACM TiiS 2017; see P3α for the rest.
    """

    beta: Weight

    def arrival_weights(self, degrees: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
        """Powers of the degrees."""
        return degree_powers(degrees, -self.beta)
