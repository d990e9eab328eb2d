"""What the tests of the data layer share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsweep.data.interactions import Interactions
from recsweep.data.sources.delimited import Delimited
from recsweep.data.sources.movielens import MovieLens
from recsweep.data.transform import Binary, apply_transform


@pytest.fixture
def csv_source() -> Callable[..., Delimited]:
    """`data=csv` as configured by default, but for the changes and without filters."""

    def source(path: Path | str | None, **changes: Any) -> Delimited:
        settings = {
            "name": "csv",
            "path": path,
            "delimiter": ",",
            "quoting": None,
            "header": True,
            "user_column": "user",
            "item_column": "item",
            "value_column": "value",
            "timestamp_column": None,
            "duplicates": "error",
            "min_rating": None,
            "min_user_interactions": 1,
            "n_heldout_users": None,
        }
        return Delimited(**settings | changes)

    return source


@pytest.fixture
def ml_1m(shared_data: Path) -> Interactions:
    """The clicks of MovieLens 1M."""
    source = MovieLens(
        name="ml-1m",
        path=shared_data / "ml-1m",
        min_rating=3.5,
        min_user_interactions=5,
        n_heldout_users=600,
        url="https://localhost/ml-1m.zip",
        sha256="0" * 64,
        member="ml-1m/ratings.dat",
        wheel=None,
        n_ratings=1_000_209,
    )
    clicks = apply_transform(source.load(source.files(shared_data)), Binary())
    assert isinstance(clicks, Interactions)
    return clicks
