"""One seed gives every consumer of randomness its own."""

import numpy as np

from recsweep.seeds import Seeds


def test_a_name_has_the_same_seed_on_every_machine() -> None:
    # sha256("42/shuffle") = 9c459c64…: its first 31 bits
    assert Seeds(42).named("shuffle") == 0x9C459C64 >> 1


def test_names_and_roots_are_independent_of_one_another() -> None:
    seeds = {Seeds(root).named(name) for root in range(50) for name in ("init", "shuffle", "noise")}
    assert len(seeds) == 150
    draws = [np.random.default_rng(Seeds(root).named("init")).random() for root in range(200)]
    assert 0.4 < np.mean(draws) < 0.6  # 0.5 ± 5 standard errors of 0.29 / √200


def test_a_seed_fits_every_generator() -> None:
    for root in (0, 1, 2**40, 10**30):
        assert 0 <= Seeds(root).named("noise") < 2**31
