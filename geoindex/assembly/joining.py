"""More images -> their places in a gallery: features are projected, positions assigned to cells and clusters."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.revision import GALLERY_COLUMNS, Added
from geoindex.assembly.sites import stored_sites
from geoindex.encoder.projection import Projection
from geoindex.geocells.borders import labels_among
from geoindex.geocells.partition import BorderedPartition, Labels, Partition
from geoindex.store.generations import Generation, IndexFolder
from geoindex.types import Samples


def join_gallery(
    index: IndexFolder, generation: Generation, samples: Samples, first: int, features: Iterable[NDArray[np.float16]]
) -> Added:
    """Assign samples to the cells and clusters of a generation.

    Args:
        index: of the generation.
        generation: to which they are added.
        samples: (A,).
        first: row of the first of them in the images table.
        features: of the samples, in parts, (n, D).

    Raises:
        GeoindexError: if the generation's sites cannot be read.
    """
    import pyarrow as pa

    projection = Projection.load(generation.whole("projection.safetensors"))
    parts = [projection.apply(part.astype(np.float32)).astype(np.float16) for part in features]
    partition, clusters = stored_sites(index, generation)
    cell = partition.assign(samples.lat, samples.lon, _labels(partition, samples))
    cluster = clusters.assign(samples.lat, samples.lon, cell)
    columns = {name: samples.table[name] for name in ("id", "image", "lat", "lon")}
    columns |= {"row": pa.array(np.arange(first, first + len(samples))), "cluster": pa.array(cluster)}
    facts = pa.table({name: columns[name] for name in GALLERY_COLUMNS})
    order = np.argsort(cluster, kind="stable")
    return Added(facts.take(order), np.concatenate(parts)[order])


def _labels(partition: Partition, samples: Samples) -> Labels | None:
    """Return the label of each sample that the cells keep to, (A,); None where they keep to none."""
    if not isinstance(partition, BorderedPartition):
        return None
    known = samples.label(partition.within)
    return labels_among(frozenset(partition.labels), partition.within, known, samples.lat, samples.lon)
