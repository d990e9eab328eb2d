"""Whether a process trains sparse batches one by one, or dense ones in slots."""

import pytest

from recsweep.errors import InputError
from recsweep.training import layout
from recsweep.training.layout import Layout


class Model:
    """Anything with a class."""


@pytest.mark.parametrize(
    ("n_slots", "n_banks", "per_bank"), [(1, 1, 1), (7, 1, 7), (8, 2, 4), (9, 2, 5), (32, 2, 16)]
)
def test_many_slots_are_two_banks(n_slots: int, n_banks: int, per_bank: int) -> None:
    assert (Layout(n_slots).n_banks, Layout(n_slots).slots_per_bank) == (n_banks, per_bank)


def test_a_layout_holds_within_its_block() -> None:
    assert layout.current() == Layout()
    assert not layout.is_dense()  # tests run on a CPU
    with layout.use(Layout(3)):
        assert layout.current().n_slots == 3
        assert layout.is_dense()
    assert layout.current() == Layout()


def test_of_equal_layouts_the_blocks_own_one_ends() -> None:
    before = layout.current()
    with layout.use(Layout()):
        assert layout.current() == before
        assert layout.current() is not before
    assert layout.current() is before


def test_a_models_widest_settings_are_found_by_its_class() -> None:
    own = Layout(2, {f"{__name__}.Model": {"latent_dim": 8}})
    assert own.widest_of(Model()) == {"latent_dim": 8}
    assert own.widest_of(3) == {}


def test_a_layout_is_read_from_a_runs_tags() -> None:
    assert layout.of_tags({}) == Layout()
    assert layout.of_tags({"slots": "12", "batches": "dense"}) == Layout(12, is_dense=True)
    for slots in ("0", "-1", "many", "99999", "1.5"):
        with pytest.raises(InputError, match=f"must be a number of slots, but is '{slots}'"):
            layout.of_tags({"slots": slots})
