"""The image level: the best candidates move towards their stored images that are most like the query.

The images of a cluster weigh by the softmax of their scaled cosines, and the cluster lies at their mean on the sphere
then, as every centroid is a mean of its members. Its probability stays what the upper levels say.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoindex.ann import half_products
from geoindex.estimate import Posterior
from geoindex.geo import from_unit, to_unit
from geoindex.search.posterior import Ranking
from geoindex.search.region import Region
from geoindex.search.searcher import Searcher

REFINED_CLUSTERS = 16
"""Best clusters that are moved."""


def refined_posterior(
    searcher: Searcher, ranking: Ranking, query: NDArray[np.float32], region: Region | None = None
) -> Posterior:
    """Return the posterior of a query, (D,), with its best clusters moved towards the images most like it.

    A cluster stays at its centroid where it would leave the region.
    """
    gallery, posterior = searcher.sidecar.gallery, ranking.posterior
    members = [gallery.members(int(cluster)) for cluster in ranking.clusters[:REFINED_CLUSTERS]]
    counts, rows = np.array([len(images) for images in members]), np.concatenate(members)
    logits = searcher.ranker.scales.cluster * half_products(gallery.vectors(rows), query).astype(np.float64)
    starts = np.cumsum(counts) - counts
    weight = np.exp(logits - np.repeat(np.maximum.reduceat(logits, starts), counts))
    lat, lon = posterior.lat.copy(), posterior.lon.copy()
    sums = np.add.reduceat(weight[:, None] * to_unit(*gallery.places(rows)), starts)
    moved_lat, moved_lon = from_unit(sums)
    inside = np.ones(len(counts), bool) if region is None else region.contains(moved_lat, moved_lon)
    moved = np.flatnonzero(inside)
    lat[moved], lon[moved] = moved_lat[moved], moved_lon[moved]
    return replace(posterior, lat=lat, lon=lon)
