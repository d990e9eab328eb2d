"""A table on an official host: one file, alone or in a zip archive."""

from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field
from pydantic.dataclasses import dataclass

from recsweep.data.archive import extract_member
from recsweep.data.download import download
from recsweep.data.sources.source import TableSource
from recsweep.errors import InputError
from recsweep.files import disk_errors_in_one_line, file_sha256
from recsweep.interfaces import STRICT


@dataclass(kw_only=True, config=STRICT)
class HostedTable(TableSource):
    """A table that is downloaded, or read from a copy at `path`: a folder, the file or the archive.

    Args:
        url: The official address, of the file or of the archive.
        sha256: The checksum of what is there; None = unknown.
        member: The file inside the archive, or its name.
    """

    other_names: ClassVar[tuple[str, ...]] = ()
    """More names that the file may have in a folder."""

    url: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    member: str

    def files(self, cache: Path) -> list[Path]:
        """The file with the table."""
        folder = cache / "downloads" / self.name
        if self.path is not None:
            return [self._local(self.path, folder)]
        target = folder / Path(self.member).name
        return [target if target.is_file() else self._downloaded(folder, target)]

    def _downloaded(self, folder: Path, target: Path) -> Path:
        name = Path(urlsplit(self.url).path).name  # a query may hold secrets
        found = download(self.url, folder / name, sha256=self.sha256)
        return found if found == target else extract_member(found, self.member, target)

    def _local(self, path: Path, folder: Path) -> Path:
        """The table at `path`: the file, its folder, or the archive."""
        name = Path(self.member).name
        for file in (
            path,
            path / self.member,
            *(path / each for each in (name, *self.other_names)),
        ):
            if file.is_file():
                member = self.member_of(file)
                return file if member is None else _unpacked(file, member, folder)
        raise InputError(
            f"{name} not found in {path}; give data.path=FOLDER that holds it, or leave data.path "
            f"out to download it: python -m recsweep task=download data={self.name}"
        )

    def member_of(self, file: Path) -> str | None:
        """The table's name inside a file, or None if it is the file itself."""
        return self.member if file.suffix in (".zip", ".whl") else None


def _unpacked(archive: Path, member: str, folder: Path) -> Path:
    """The table in a local archive, extracted once per archive content."""
    with disk_errors_in_one_line(archive, "data.path"):
        content = file_sha256(archive)[:16]
    return extract_member(archive, member, folder / content / Path(member).name)
