"""Samples as plain frozen data."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = (
    "country", "region", "sub_region", "city", "author", "sequence", "captured_at",
    "climate", "land_cover", "drive_side",
)  # fmt: skip
"""Labels that a source may carry, as text; `captured_at` is ISO 8601, the last three are classes by number or name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with a known position.

    Attributes:
        id: unique within its source.
        lat: latitude in degrees (WGS84), -90 to 90.
        lon: longitude in degrees, -180 to 180.
        image: where the source finds the image (a path, a member of an archive, a seed).
        heading_deg: compass direction of the camera, 0 = north, if known.
        labels: text by label name; only names out of `LABELS`.
    """

    id: str
    lat: float
    lon: float
    image: str
    heading_deg: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Samples:
    """Many samples, column by column, so that millions fit in memory.

    Attributes:
        table: Arrow table with the columns of `Samples.schema()`, in that order.
    """

    table: "pa.Table"

    @staticmethod
    def schema() -> "pa.Schema":
        """Return the Arrow schema: id, lat, lon, image, heading_deg, then one column a label."""
        import pyarrow as pa

        columns = [("id", pa.string()), ("lat", pa.float64()), ("lon", pa.float64())]
        columns += [("image", pa.string()), ("heading_deg", pa.float32())]
        return pa.schema(columns + [(name, pa.string()) for name in LABELS])

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> "Samples":
        """Build from columns by name; columns of the schema that are missing become null."""
        import pyarrow as pa

        schema = cls.schema()
        count = len(columns["id"])
        arrays = [pa.array(columns.get(f.name, [None] * count), f.type, from_pandas=True) for f in schema]
        return cls(pa.Table.from_arrays(arrays, schema=schema))

    @classmethod
    def from_samples(cls, samples: Iterable[Sample]) -> "Samples":
        """Build from single samples."""
        rows = list(samples)
        columns: dict[str, Any] = {
            name: [getattr(s, name) for s in rows] for name in ("id", "lat", "lon", "image", "heading_deg")
        }
        columns |= {name: [s.labels.get(name) for s in rows] for name in LABELS}
        return cls.from_columns(columns)

    @property
    def ids(self) -> list[str]:
        """Ids in order."""
        ids: list[str] = self.table["id"].to_pylist()
        return ids

    @property
    def images(self) -> list[str]:
        """Image locators in order; the source's `read` takes them."""
        images: list[str] = self.table["image"].to_pylist()
        return images

    @property
    def lat(self) -> NDArray[np.float64]:
        """Latitudes in degrees, (N,)."""
        lat: NDArray[np.float64] = self.table["lat"].to_numpy()
        return lat

    @property
    def lon(self) -> NDArray[np.float64]:
        """Longitudes in degrees, (N,)."""
        lon: NDArray[np.float64] = self.table["lon"].to_numpy()
        return lon

    def label(self, name: str) -> list[str | None]:
        """Return one label of every sample; None where the source does not know it."""
        values: list[str | None] = self.table[name].to_pylist()
        return values

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        """Return the samples at these rows, in this order."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self  # a copy of millions would only cost memory
        return Samples(self.table.take(rows))

    def with_prefix(self, prefix: str) -> "Samples":
        """Return them with a text before every id."""
        import pyarrow as pa

        ids = pa.array([prefix + id for id in self.ids], pa.string())
        return Samples(self.table.set_column(0, "id", ids)) if prefix else self

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Sample:
        values = self.table.slice(row, 1).to_pylist()[0]
        labels = {name: values.pop(name) for name in LABELS}
        return Sample(**values, labels={k: v for k, v in labels.items() if v is not None})

    def __iter__(self) -> Iterator[Sample]:
        return (self[row] for row in range(len(self)))
