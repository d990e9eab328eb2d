"""iALS: weighted matrix factorisation by alternating least squares (Hu et al. 2008)."""

from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep import environment
from recsweep.defaults import with_defaults
from recsweep.errors import InputError
from recsweep.interfaces import CSR, STRICT, OnEpoch, State
from recsweep.seeds import Seeds

if TYPE_CHECKING:
    from implicit.cpu.als import AlternatingLeastSquares


@with_defaults("model")
@dataclass(kw_only=True, config=STRICT)
class IALS:
    """User and item factors whose products are near 1 where there is an interaction, else near 0.

    Minimises Σ c_ui (p_ui − x_u·y_i)² + l2·(Σ‖x_u‖² + Σ‖y_i‖²) over all cells, where p is 1 and
    c = 1 + alpha·value at an interaction, and p is 0 and c = 1 elsewhere. A history is scored by
    the factors that solve this for it, so users need not have been in the training data.

    Args:
        latent_dim: Length of a factor.
        l2: Weight of the squared factors.
        alpha: How much more an interaction weighs per unit of its value.
        n_epochs: Maximum number of passes over users and items.

    Source:
        Hu, Koren & Volinsky: Collaborative Filtering for Implicit Feedback Datasets. ICDM 2008;
        trained by the library implicit, which takes three conjugate gradient steps per pass
        (Takács, Pilászy & Tikk, RecSys 2011). Histories are solved exactly.
    """

    latent_dim: Annotated[int, Field(ge=1)]
    l2: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(ge=0)]
    n_epochs: Annotated[int, Field(ge=1)]

    def __post_init__(self) -> None:
        if find_spec("implicit") is None:
            raise InputError(
                "model=ials needs the package implicit, but it is not installed; "
                "pip install 'recsweep[baselines]'"
            )
        self._model: AlternatingLeastSquares | None = None

    def fit(self, train: CSR, on_epoch: OnEpoch, seeds: Seeds) -> None:
        """Alternate for `n_epochs`, or until `on_epoch` returns False."""
        model, confidence = self._unfitted(seeds.named("init")), self._confidence(train)
        for epoch in range(self.n_epochs):
            losses: dict[str, float] = {}
            with _one_blas_thread():
                model.fit(  # one pass, starting from the current factors
                    confidence,
                    show_progress=False,
                    callback=lambda _epoch, _s, loss, losses=losses: losses.update(loss=loss),
                )
            self._model = model
            if not on_epoch(epoch, losses):
                return

    def score(self, history: CSR) -> np.ndarray:
        """Products of the history's factors and the item factors: users × items."""
        model = self._fitted()
        with _one_blas_thread():
            users = model.recalculate_user(np.arange(history.shape[0]), self._confidence(history))
        return users @ model.item_factors.T

    def state(self) -> State:
        """A copy of the item factors: the next epoch overwrites them."""
        return {"item_factors": self._fitted().item_factors.copy()}

    def restore(self, state: State) -> None:
        """Load item factors."""
        self._model = self._unfitted(seed=0)
        self._model.item_factors = state["item_factors"]

    def _unfitted(self, seed: int) -> "AlternatingLeastSquares":
        from implicit.cpu.als import AlternatingLeastSquares  # from the extra `baselines`

        with _one_blas_thread():
            return AlternatingLeastSquares(
                factors=self.latent_dim, regularization=self.l2, iterations=1,
                calculate_training_loss=True, num_threads=environment.n_threads(),
                random_state=seed,
            )  # fmt: skip

    def _confidence(self, interactions: CSR) -> CSR:
        confidence = interactions.astype(np.float32)
        confidence.data = 1 + np.float32(self.alpha) * confidence.data
        return confidence

    def _fitted(self) -> "AlternatingLeastSquares":
        if self._model is None:
            raise RuntimeError("a model must be fitted or restored first; call fit or restore")
        return self._model


def _one_blas_thread() -> AbstractContextManager[object]:
    """The library has its own threads, and warns if BLAS would start more."""
    from threadpoolctl import threadpool_limits  # comes with implicit

    return threadpool_limits(1, "blas")
