"""What every source does with its path and its table."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from recsweep.data.sources.delimited import Delimited

CsvSource = Callable[..., Delimited]


def test_a_tilde_in_the_path_is_the_home_folder(
    csv_source: CsvSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    assert csv_source("~/clicks.csv").path == tmp_path / "clicks.csv"
    assert csv_source("~").path == tmp_path
    assert csv_source("a/~/b").path == Path("a/~/b")


def test_the_home_of_nobody_is_not_found_rather_than_a_crash(csv_source: CsvSource):
    assert csv_source("~nobody-of-this-name/clicks.csv").path == Path(
        "~nobody-of-this-name/clicks.csv"
    )


@pytest.mark.parametrize(
    "url",
    ["http://host/a.csv", "https://host", "s3://bucket/a", "gs://b", "file:///a.csv", "HTTP:/h/a"],
)
def test_a_url_is_no_path(csv_source: CsvSource, url: str):
    with pytest.raises(ValidationError, match=f"one on this computer, but '{url}' is a URL"):
        csv_source(url)


@pytest.mark.parametrize("path", ["a:b.csv", "C:/clicks.csv", "dir/http:/a", "2024-05-31T10:00"])
def test_a_colon_in_a_path_makes_no_url(csv_source: CsvSource, path: str):
    assert csv_source(path).path == Path(path)


def test_a_loaded_table_has_passed_the_filters(csv_source: CsvSource, tmp_path: Path):
    file = tmp_path / "clicks.csv"
    file.write_text("user,item,value\n1,1,5\n1,2,4\n1,3,1\n2,1,5\n2,3,3\n")
    data = csv_source(file, min_rating=4, min_user_interactions=2).load([file])
    assert data.user_ids.tolist() == [1]  # user 2 has one value of at least 4
    assert data.item_ids.tolist() == [1, 2]
    assert data.matrix.toarray().tolist() == [[5, 4]]


@pytest.mark.parametrize(
    "change",
    [
        {"min_user_interactions": 0},
        {"min_user_interactions": None},
        {"n_heldout_users": 0},
        {"min_rating": "high"},
        {"min_ratings": 4},
    ],
)
def test_a_setting_out_of_range_or_misspelt_is_refused_before_data_is_read(
    csv_source: CsvSource, change: dict[str, object]
):
    with pytest.raises(ValidationError, match=next(iter(change))):
        csv_source("clicks.csv", **change)
