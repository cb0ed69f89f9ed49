"""What a version of a Lance table is made of, as its manifest says: data files, and lists of deleted rows.

Lance tells it only by a library that is not among the requirements (pylance). A manifest is a protobuf message, of
which a few fields are read here; what could name files in another way is refused, so that none is overlooked.
"""

from collections.abc import Iterator
from pathlib import Path

from geoindex.store.versions import version_of

VERSIONS, TRANSACTIONS = "_versions", "_transactions"
"""Folders of a Lance table: a manifest for each version, and what led to it."""

FRAGMENTS, READER_FLAGS, TRANSACTION = 2, 9, 12
"""Fields of a manifest."""

DATA_FILES, DELETIONS = 2, 3
"""Fields of a fragment; its id, the number of its rows, and these are all that a table without stable row ids has."""

PLAIN_FLAGS = 0b101101
"""Features that name no further files: deletions, the second format, settings of a table, no transactions."""

SUFFIXES = ("arrow", "bin")
"""Ending of a list of deleted rows, by its kind."""

VARINT, BYTES = 0, 2
WIDTHS = {1: 8, 5: 4}
"""Bytes of a value of fixed width, by the kind of its field."""

Values = dict[int, list[int | bytes]]


def manifests(folder: Path) -> dict[int, Path]:
    """Return the manifests of the table in a folder, by version."""
    found = (path for path in (folder / VERSIONS).glob("*.manifest") if path.stem.isdigit())
    return {version_of(path): path for path in found}


def files_of(folder: Path, version: int) -> frozenset[str]:
    """Return the files that one version of a table stands on, by their paths below its folder.

    Raises:
        OSError: if its manifest is gone or cannot be read.
        ValueError: if its manifest is not one, or of a Lance that names files in a way that is not known here.
    """
    path = manifests(folder).get(version)
    if path is None:
        raise FileNotFoundError(f"version {version} has no manifest")
    try:
        message = _message(path.read_bytes())
        flags = _number(message, READER_FLAGS)
        if flags & ~PLAIN_FLAGS:
            raise ValueError(f"features {flags:b} of a newer Lance")
        files = {f"{VERSIONS}/{path.name}", *(f"{TRANSACTIONS}/{_text(name)}" for name in message.get(TRANSACTION, []))}
        for fragment in message.get(FRAGMENTS, []):
            files.update(_files(_fields(_bytes(fragment))))
    except (IndexError, KeyError) as error:
        raise ValueError("a manifest that lacks something") from error
    return frozenset(files)


def _message(data: bytes) -> Values:
    """Return the fields of a manifest; its last bytes say where in the file it starts."""
    start = int.from_bytes(data[-16:-8], "little")
    size = int.from_bytes(data[start : start + 4], "little")
    message = data[start + 4 : start + 4 + size]
    if data[-4:] != b"LANC" or not size or len(message) != size:
        raise ValueError("no manifest")
    return _fields(message)


def _files(fragment: Values) -> Iterator[str]:
    """Yield the files of a fragment."""
    for file in fragment.get(DATA_FILES, []):
        (path,) = _fields(_bytes(file))[1]
        yield f"data/{_text(path)}"
    for deletions in fragment.get(DELETIONS, []):
        fields = _fields(_bytes(deletions))
        suffix, read, number = (_number(fields, field) for field in (1, 2, 3))
        yield f"_deletions/{_number(fragment, 1)}-{read}-{number}.{SUFFIXES[suffix]}"


def _fields(data: bytes) -> Values:
    """Return the values of a protobuf message by the numbers of its fields."""
    found: Values = {}
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _varint(data, place)
            found.setdefault(key >> 3, []).append(value)
            continue
        if kind != BYTES and kind not in WIDTHS:
            raise ValueError("no protobuf message")
        size, place = _varint(data, place) if kind == BYTES else (WIDTHS[kind], place)
        found.setdefault(key >> 3, []).append(data[place : place + size])
        place += size
    if place != len(data):
        raise ValueError("a message that ends too early")
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a whole number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _number(message: Values, field: int) -> int:
    """Return the last value of a field; 0 is not written."""
    value = message.get(field, [0])[-1]
    if isinstance(value, bytes):
        raise ValueError("no number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("no message")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()
