"""Answers to single queries as a file, so that two systems can be compared photo by photo."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import DatasetNotFoundError, TableError
from geoindex.metrics import GEOINDEX
from geoindex.store.durable import storage_errors, write_durably

SCHEMA = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a system answered to each query, and how far off it was.

    Attributes:
        name: of the system.
        queries: where they come from.
        convention: by which the distances were measured.
        ids: of the queries, (Q,).
        lat, lon: answers in degrees, (Q,).
        true_lat, true_lon: truths in degrees, (Q,).
        distance_km: from the truth, (Q,).
    """

    name: str
    queries: str
    convention: str
    ids: list[str]
    lat: Floats
    lon: Floats
    true_lat: Floats
    true_lon: Floats
    distance_km: Floats

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        values = {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in asdict(self).items()}
        return {"schema": SCHEMA, **values}

    def write(self, path: str | PathLike[str]) -> None:
        """Write it as JSON.

        Raises:
            StorageError: if the disk refuses.
        """
        with storage_errors(Path(path)):
            write_durably(Path(path), (json.dumps(self.to_dict()) + "\n").encode())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Predictions":
        """Read what `to_dict` gives; of the answers of another system, ids and distance_km are enough.

        Raises:
            KeyError, TypeError, ValueError: if that is not what it is.
        """
        if not isinstance(values, Mapping):
            raise TypeError("it is no object of JSON")
        ids, count = [str(id) for id in values["ids"]], len(values["ids"])
        numbers = {
            name: np.asarray(values.get(name, [np.nan] * count), float)
            for name in ("lat", "lon", "true_lat", "true_lon")
        }
        distance_km = np.asarray(values["distance_km"], float)
        if count == 0 or len(set(ids)) != count or not np.isfinite(distance_km).all():
            raise ValueError("ids must be unique and distances finite, one or more of each")
        if any(array.shape != (count,) for array in [distance_km, *numbers.values()]):
            raise ValueError("its lists are not equally long")
        name, queries = str(values.get("name", "")), str(values.get("queries", ""))
        convention = str(values.get("convention", GEOINDEX.name))
        return cls(name, queries, convention, ids, distance_km=distance_km, **numbers)


def read_predictions(path: str | PathLike[str]) -> Predictions:
    """Read a file of predictions.

    Raises:
        DatasetNotFoundError: if there is none.
        TableError: if it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetNotFoundError(
            f"There are no predictions '{path}'; write them with 'geoindex eval INDEX --predictions {path}'."
        )
    try:
        return Predictions.from_dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise TableError(
            f"'{path}' holds no predictions ({reason}); write them with 'geoindex eval INDEX --predictions {path}'."
        ) from error
