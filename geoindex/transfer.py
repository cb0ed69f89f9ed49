"""An index on its way: a copy of its own, one file to carry, and an index out of that file again."""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geoindex.assembly.verification import verify_encoder
from geoindex.errors import ConfigError
from geoindex.remote.fetching import fetch
from geoindex.remote.index import RemoteIndex
from geoindex.remote.publishing import publish, require_descent
from geoindex.store.address import folder_of, url_of
from geoindex.store.archive import read_archive, write_archive
from geoindex.store.copying import Part, bytes_of, copy_generation, parts_of
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.listing import Listing
from geoindex.store.space import size_text


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was copied.

    Attributes:
        path: the new index or its URL, or the archive.
        generation: the one that it holds.
        files: number of files.
        bytes: size of the files, or of the archive.
    """

    path: Path | str
    generation: str
    files: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path)}

    def to_text(self) -> str:
        """Return it as a line."""
        return f"{self.path}: generation {self.generation}, {self.files} files, {size_text(self.bytes)}"


def clone_index(path: str | PathLike[str], out: str | PathLike[str], generation: str = "") -> Transfer:
    """Make an index of its own out of one generation of another. Every byte is copied and compared with its checksum.

    The copy has the photos that were removed for good on its list too, and no other generation. To a URL, such as
    s3://BUCKET/PREFIX, only what is not there is sent, and from one only what it takes is fetched; a run that was
    stopped goes on with that.

    Args:
        path: folder of the index, or its URL.
        out: folder of the new one, which is not there or is empty; a stopped copy leaves nothing there. Or a URL,
            where the generation answers from then on; one that answers there must be one of this index.
        generation: which one, as 000002; empty: the live one.

    Raises:
        ConfigError: if `out` lies inside the index.
        IndexNotFoundError: if there is no such index or generation.
        IndexDamagedError: if a file of it is not what was written.
        StorageError: if `out` is there already, or the disk has no room or refuses, or the object storage does.
        UnreachableError: if the object storage does not answer.
        ConflictError: if somebody else published there in the meantime.
    """
    if url := url_of(path):
        return _clone_down(RemoteIndex(url), folder_of(out), generation)
    if url := url_of(out):
        return _clone_up(path, RemoteIndex(url), generation)
    _refuse_inside(path, folder_of(out))
    index, wanted, parts = _source(path, generation)
    copy_generation(index, wanted, parts, Path(out))
    return Transfer(Path(out), wanted.manifest.generation, len(parts), bytes_of(parts))


def export_index(
    path: str | PathLike[str], archive: str | PathLike[str], generation: str = "", *, replace: bool = False
) -> Transfer:
    """Write one generation of an index into a single tar file, with the checksum of every file in it.

    The same generation gives the same bytes every time.

    Args:
        path: folder of the index.
        archive: the file; it is there when it is whole.
        generation: which one, as 000002; empty: the live one.
        replace: let it take the place of a file that is there.

    Raises:
        ConfigError: if `archive` is a URL, or lies inside the index.
        IndexNotFoundError: if there is no such index or generation.
        IndexDamagedError: if a file of it is not what was written.
        StorageError: if the file is there already, or the disk has no room or refuses.
    """
    file = _file_of(archive)
    _refuse_inside(path, file)
    index, wanted, parts = _source(path, generation)
    size = write_archive(index, wanted, parts, file, replace=replace)
    return Transfer(file, wanted.manifest.generation, len(parts), size)


def import_index(archive: str | PathLike[str], out: str | PathLike[str]) -> Transfer:
    """Make an index out of a file that `export_index` wrote, after a look at every byte of it.

    Args:
        archive: the file.
        out: folder of the index, which is not there or is empty; a stopped import leaves nothing there.

    Raises:
        ConfigError: if one of them is a URL.
        IndexNotFoundError: if there is no such file.
        IndexVersionError: if a later geoindex wrote it in another format.
        IndexDamagedError: if it is another kind of file, or one byte of it is not what was written.
        StorageError: if `out` is there already, or the disk has no room or refuses.
    """
    contents = read_archive(_file_of(archive), folder_of(out))
    return Transfer(Path(out), contents.generation, len(contents.members), bytes_of(contents.members))


def _file_of(archive: str | PathLike[str]) -> Path:
    if url := url_of(archive):
        raise ConfigError(f"'{url}' is no file, and archives are files; use 'geoindex clone' for URLs.")
    return folder_of(archive)


def _refuse_inside(path: str | PathLike[str], out: Path) -> None:
    """Refuse to put a copy of an index into the index, where it would be taken for a part of it."""
    index = Path(path).resolve()
    if out.resolve().is_relative_to(index) and (index / "generations").is_dir():
        raise ConfigError(f"'{out}' lies inside the index '{path}'; name a place outside of it.")


def _clone_down(remote: RemoteIndex, out: Path, generation: str) -> Transfer:
    listing = remote.listing(remote.pointer(generation))
    fetch(remote, listing, out, out.resolve().with_name(f".{out.resolve().name}.fetched"), {})
    return Transfer(out, listing.generation, len(listing.parts), bytes_of(listing.parts))


def _clone_up(path: str | PathLike[str], remote: RemoteIndex, name: str) -> Transfer:
    before = remote.current()
    index, wanted, parts = _source(path, name)
    listing = Listing(wanted.manifest.generation, wanted.manifest.counts, parts)
    if before is not None:
        require_descent(remote, before, index, listing)
    publish(remote, index.root, listing, before)
    return Transfer(remote.url, listing.generation, len(parts), bytes_of(parts))


def _source(path: str | PathLike[str], name: str) -> tuple[IndexFolder, Generation, tuple[Part, ...]]:
    """Open what is to be copied, and list its files."""
    index = IndexFolder(folder_of(path))
    live = index.current() if not name else None
    generation = live or index.generation(name)
    verify_encoder(index, generation)
    return index, generation, parts_of(index, generation)
