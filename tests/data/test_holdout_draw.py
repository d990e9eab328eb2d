"""Held-out interactions are drawn in their shares, and validation takes nobody's last one."""

import numpy as np
import pytest

from recsweep.data.holdout_draw import Per, draw_held_out, share_of

LENGTHS = np.array([1, 2, 0, 3, 1, 5, 8])  # 20 in all
USERS = np.repeat(np.arange(7), LENGTHS)


def per_user(is_drawn: np.ndarray) -> list[int]:
    return np.bincount(USERS[is_drawn], minlength=7).tolist()


def test_a_users_share_is_rounded_down():
    valid, test = draw_held_out(LENGTHS, "user", 0.25, 0.5, seed=0)
    assert per_user(test) == [0, 1, 0, 1, 0, 2, 4]
    assert per_user(valid) == [0, 0, 0, 0, 0, 1, 2]


def test_a_share_of_all_is_exact_whoever_it_falls_on():
    valid, test = draw_held_out(LENGTHS, "all", 0.1, 0.3, seed=0)
    assert (valid.sum(), test.sum()) == (2, 6)


@pytest.mark.parametrize(("n", "n_test"), [(100, 29), (1_800_000, 522_000)])
def test_a_share_that_is_whole_is_not_one_short(n: int, n_test: int):
    assert 0.29 * n < n_test, "the nearest floating-point number is smaller"
    assert draw_held_out(np.array([n]), "all", 0.1, 0.29, seed=0)[1].sum() == n_test


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(1 / 3, [1, 2, 3, 33]), (2 / 3, [2, 4, 6, 66]), (0.123456789, [0, 0, 1, 12])],
)
def test_a_share_is_that_of_the_fraction_that_was_meant(fraction: float, expected: list[int]):
    assert [share_of(fraction, size) for size in (3, 6, 9, 99)] == expected


@pytest.mark.parametrize("fraction", [0.57, np.float64(0.57)])
def test_a_share_of_many_millions_is_exact(fraction: float):
    assert [share_of(fraction, 99_000_000 + more) for more in (-1, 0, 1, 2)] == [
        56_429_999, 56_430_000, 56_430_000, 56_430_001,
    ]  # fmt: skip


@pytest.mark.parametrize("per", ["user", "all"])
@pytest.mark.parametrize("seed", range(20))
def test_validation_leaves_something_to_whom_test_left_something(per: Per, seed: int):
    valid, test = draw_held_out(LENGTHS, per, 0.4, 0.5, seed)
    assert not (valid & test).any()
    before, after = per_user(~test), per_user(~test & ~valid)
    assert [n > 0 for n in before] == [n > 0 for n in after]


def test_validation_gets_less_than_its_share_when_more_would_take_somebodys_last():
    valid, test = draw_held_out(np.array([2, 2, 2]), "all", 0.9, 0.0, seed=1)
    assert (valid.sum(), test.sum()) == (3, 0)


def test_test_is_a_fair_draw_of_all():
    # 2,000 draws of 6 in 20: each interaction 600 times, ± 5 × √(2,000 × .3 × .7) = 5 × 20.5
    draws = [draw_held_out(LENGTHS, "all", 0.1, 0.3, seed)[1] for seed in range(2000)]
    assert np.abs(np.sum(draws, axis=0) - 600).max() < 5 * 20.5


def test_a_seed_draws_the_same_again_and_another_seed_something_else():
    one, same, other = (draw_held_out(LENGTHS, "all", 0.1, 0.3, seed) for seed in (1, 1, 2))
    assert [part.tolist() for part in one] == [part.tolist() for part in same]
    assert [part.tolist() for part in one] != [part.tolist() for part in other]
