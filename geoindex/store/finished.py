"""Results of finished steps, kept until what they are for is published, so that a stopped run goes on after them."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.store.durable import make_folder, write_durably
from geoindex.store.generations import IndexFolder

if TYPE_CHECKING:
    import pyarrow as pa

HASHED_ROWS = 65_536

FACTS = "facts"
"""Name of the array that holds a result's plain facts."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a step gave, in types that any version of any library reads.

    Attributes:
        arrays: numbers and text by name.
        facts: plain JSON types by name.
    """

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Return it as the same bytes whenever it is the same."""
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(self.facts).encode(), np.uint8)
        arrays: dict[str, Any] = {**self.arrays, FACTS: text}
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Result":
        """Read it back."""
        with np.load(io.BytesIO(data)) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return cls(arrays, json.loads(arrays.pop(FACTS).tobytes()))


@dataclass(frozen=True, slots=True)
class FinishedSteps:
    """One file a step; a key, the hash of all that the step depends on, tells whether its result will do.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    @classmethod
    def of(cls, index: IndexFolder) -> "FinishedSteps":
        """Return those of the unfinished build or rebuild of an index."""
        return cls(index.work / "steps")

    def read(self, step: str, key: str) -> Result | None:
        """Return what a step gave; None if it never finished with this key, or its file is not what was written."""
        try:
            data = self._path(step, key).read_bytes()
        except OSError:
            return None
        seal, content = data[:32], data[32:]
        return Result.from_bytes(content) if seal == _seal(step, key, content) else None

    def write(self, step: str, key: str, result: Result) -> None:
        """Keep what a step gave, instead of what it gave with any other key.

        Raises:
            OSError: if the disk refuses.
        """
        path, content = self._path(step, key), result.to_bytes()
        make_folder(self.folder)
        write_durably(path, _seal(step, key, content) + content)
        for other in self.folder.glob(f"*{step}-*"):
            if other != path:
                other.unlink()

    def clear(self) -> None:
        """Forget all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, step: str, key: str) -> Path:
        return self.folder / f"{step}-{key}"


def digest_of(*parts: Any) -> str:
    """Return a key for arrays, None and plain JSON types: other values, other key."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        is_array = isinstance(part, np.ndarray)
        data = part.tobytes() if is_array else json.dumps(part).encode()
        head = [str(part.dtype), list(part.shape)] if is_array else len(data)
        state.update(json.dumps(head).encode() + b"\n" + data)
    return state.hexdigest()


def table_digest(table: "pa.Table") -> str:
    """Return a hash of a table, equal where rows and chunks are; little of it is copied at a time."""
    state = hashlib.sha256(str(table.schema).encode())
    for start in range(0, table.num_rows, HASHED_ROWS):
        for batch in table.slice(start, HASHED_ROWS).combine_chunks().to_batches():
            state.update(batch.serialize())
    return state.hexdigest()


def _seal(step: str, key: str, content: bytes) -> bytes:
    state = hashlib.sha256(f"{step} {key}\n".encode())
    state.update(content)
    return state.digest()
