"""EDLAE is EASE with dropout."""

import numpy as np
import scipy.sparse as sp

from recsweep.models.ease import EASE
from recsweep.models.edlae import EDLAE
from recsweep.seeds import Seeds


def test_it_is_ease_with_dropout() -> None:
    random = np.random.default_rng(2)
    train = sp.csr_matrix((random.random((60, 20)) < 0.3).astype(np.float32))
    models = EDLAE(l2=7.0, dropout_rate=0.4), EASE(l2=7.0, dropout_rate=0.4)
    for model in models:
        model.fit(train, lambda *_: True, Seeds(0))
    np.testing.assert_array_equal(*(model.state()["weights"] for model in models))
    assert EDLAE().dropout_rate > 0 == EASE().dropout_rate
