"""The photos that were removed for good: their ids, which no rollback, rebuild, clone or import brings back."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import IndexDamagedError
from geoindex.store.durable import write_durably

if TYPE_CHECKING:
    import pyarrow as pa

TOMBSTONES_NAME = "removed.json"

REMOVED = "it was removed from this index for good"
"""Why a sample is not taken that has one of the ids."""


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Ids that were removed.

    Attributes:
        ids: each once.
    """

    ids: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path) -> "Tombstones":
        """Read them back; there are none where there is no file.

        Raises:
            IndexDamagedError: if the file is not what was written.
        """
        try:
            values = json.loads(path.read_bytes())
            ids = frozenset(map(str, values["ids"]))
            sound = values["sha256"] == _digest(ids)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(path) from error
        if not sound:
            raise _damaged(path)
        return cls(ids)

    def write(self, path: Path) -> None:
        """Write them so that they are either whole and on the disk, or as they were."""
        write_durably(path, self.to_json())

    def to_json(self) -> bytes:
        """Return them as text that vouches for itself."""
        return (json.dumps({"sha256": _digest(self.ids), "ids": sorted(self.ids)}, indent=0) + "\n").encode()

    def __or__(self, other: "Tombstones") -> "Tombstones":
        """Return the ids of both."""
        return Tombstones(self.ids | other.ids)

    def __sub__(self, other: "Tombstones") -> "Tombstones":
        """Return the ids that the other has not."""
        return Tombstones(self.ids - other.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def cover(self, ids: "pa.ChunkedArray | pa.Array") -> NDArray[np.bool_]:
        """Tell of each id, (N,), whether it was removed."""
        if not self.ids:
            return np.zeros(len(ids), bool)
        return covered(ids, sorted(self.ids))


def covered(values: "pa.ChunkedArray | pa.Array", wanted: list[str]) -> NDArray[np.bool_]:
    """Tell of each value, (N,), whether it is among some others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Any = pc.is_in(values, value_set=pa.array(wanted, pa.string()))
    flags: NDArray[np.bool_] = np.asarray(found.to_numpy(zero_copy_only=False), bool)
    return flags


def _digest(ids: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def _damaged(path: Path) -> IndexDamagedError:
    return IndexDamagedError(f"'{path}' is not what was written; run 'geoindex repair {path.parent}'.")
