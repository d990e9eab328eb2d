"""A hosted table's checksum and its copies; its formats are tested where they are read."""

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from recsweep.data.sources.hosted import HostedTable
from recsweep.files import file_sha256
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class Table(HostedTable):
    def table(self, files: list[Path]) -> pd.DataFrame:
        return pd.read_csv(files[0])


def table(url: str, sha256: str | None, path: Path | None = None) -> Table:
    return Table(
        name="tiny", path=path, min_rating=None, min_user_interactions=1, n_heldout_users=None,
        url=f"{url}/t.csv", sha256=sha256, member="t.csv",
    )  # fmt: skip


def test_a_file_is_downloaded_as_it_is_and_held_to_its_checksum(
    refused, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, requests = server
    file = tmp_path / "site" / "t.csv"
    file.write_text("user,item,value\n1,2,3\n")
    with refused(f"must have sha256 {'0' * 64}", "data.path"):
        table(url, "0" * 64).files(tmp_path / "cache")
    for sha256 in (file_sha256(file), None):
        (found,) = table(url, sha256).files(tmp_path / "cache")
        assert found.read_bytes() == file.read_bytes()
    assert requests == ["/t.csv"] * 2


def test_the_query_of_an_address_is_sent_but_names_no_file(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, requests = server
    (tmp_path / "site" / "t.csv").write_text("user,item,value\n1,2,3\n")
    one = table(url, None)
    one.url += "?token=sesame"
    (found,) = one.files(tmp_path / "cache")
    assert found.name == "t.csv"
    assert requests == ["/t.csv?token=sesame"]
    assert not [path for path in tmp_path.rglob("*") if "sesame" in path.name]


def test_a_path_without_the_file_is_refused(refused, tmp_path: Path) -> None:
    with refused(f"t.csv not found in {tmp_path}", "task=download data=tiny"):
        table("http://127.0.0.1:9", None, tmp_path).files(tmp_path)


def test_a_checksum_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="sha256"):
        table("http://127.0.0.1:9", "abc")
