"""What an index must be measured against: answers that need less than it does, and those of published systems.

All see the same gallery, cells and embeddings as the index, so that what differs is the way to answer alone. Settings
are the published ones and never fitted to the queries.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from geoindex.evaluation.neighbours import NEIGHBOURS, SIGMA_DEGREES, Neighbours, density_points, nearest_images
from geoindex.evaluation.refiner import PIGEON, PIGEOTTO
from geoindex.geo import haversine_km
from geoindex.metrics import geoscore
from geoindex.search.posterior import Ranking
from geoindex.search.searcher import Searcher

RANDOM_PAIRINGS = 10
MAX_CONSTANTS = 4096
MAX_WITNESSES = 20_000

RANDOM, CONSTANT, NEAREST_IMAGE = "random pairing", "best constant", "1-NN, same embeddings"
CELL_PRIOR, DENSITY, CLASSIFIER = "cell prior", "k-NN, kernel density", "most probable cell"
CLUSTER_GALLERY, PIGEON_REFINER, PIGEOTTO_REFINER = "all clusters as a gallery", "PIGEON refiner", "PIGEOTTO refiner"

ABOUT: Mapping[str, str] = {
    RANDOM: "the position of any photo of the gallery",
    CONSTANT: "one point for all, the best for the gallery by GeoScore",
    NEAREST_IMAGE: "the position of the most similar photo of the gallery",
    CELL_PRIOR: "one point for all, the centroid of the cell with most photos",
    DENSITY: f"where the {NEIGHBOURS} most similar photos crowd, kernel of {SIGMA_DEGREES:g}° (Revisiting Im2GPS)",
    CLASSIFIER: "the centroid of the most probable cell, as classifiers answer (PlaNet, ISN)",
    CLUSTER_GALLERY: "the centroid of the most similar cluster of all, as GeoCLIP takes the best of its gallery of "
    "positions; it has no encoder of positions here, so geo-embeddings of clusters stand for them",
    PIGEON_REFINER: f"the most similar photo of the best cluster of the {PIGEON.top_cells} most probable cells, at "
    f"most {PIGEON.cap_km:,.0f} km from the most probable one",
    PIGEOTTO_REFINER: f"the same with {PIGEOTTO.top_cells} cells and no limit, its authors' settings for any photos",
}
"""How each answers, by its name or the start of it."""

Floats = NDArray[np.float64]


def random_pairing_km(
    lat: Floats, lon: Floats, gallery_lat: Floats, gallery_lon: Floats, seed: int,
    distance_km: Callable[..., Floats] = haversine_km,
) -> Floats:  # fmt: skip
    """Return distances when each query gets the position of a random gallery image, (10 Q,)."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(gallery_lat), (RANDOM_PAIRINGS, len(lat)))
    return distance_km(lat, lon, gallery_lat[rows], gallery_lon[rows]).ravel()


def best_constant(
    gallery_lat: Floats, gallery_lon: Floats, seed: int, worth: Callable[[Floats], Floats] = geoscore
) -> tuple[float, float]:
    """Return the gallery position whose distances from the gallery are worth most; it never sees a query.

    Of large galleries a seeded sample stands as candidates and as witnesses.

    Args:
        gallery_lat: latitudes in degrees, (G,).
        gallery_lon: longitudes in degrees, (G,).
        seed: of the sample.
        worth: of distances in km; its mean decides. GeoScore, or np.negative for the least mean distance.
    """
    rng = np.random.default_rng(seed)
    candidates = _sample(rng, len(gallery_lat), MAX_CONSTANTS)
    witnesses = _sample(rng, len(gallery_lat), MAX_WITNESSES)
    lat, lon = gallery_lat[witnesses], gallery_lon[witnesses]
    scores = [worth(haversine_km(gallery_lat[c], gallery_lon[c], lat, lon)).mean() for c in candidates]
    best = candidates[int(np.argmax(scores))]
    return float(gallery_lat[best]), float(gallery_lon[best])


def _sample(rng: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
    return np.arange(count) if count <= most else np.sort(rng.choice(count, most, replace=False))


def rival_points(searcher: Searcher, queries: NDArray[np.float32], near: Neighbours) -> dict[str, Floats]:
    """Return what published ways to answer make of the same embeddings, by the names of `ABOUT`, (Q, 2) degrees each.

    Args:
        searcher: of the index.
        queries: (Q, D) unit vectors.
        near: the photos most like each query, out of the live ones.
    """
    return {
        CELL_PRIOR: np.broadcast_to(_cell_prior(searcher), (len(queries), 2)),
        DENSITY: density_points(near, *searcher.sidecar.gallery.positions()),
        CLUSTER_GALLERY: _nearest_clusters(searcher, queries),
    }


def ranked_rival_points(
    searcher: Searcher, queries: NDArray[np.float32], rankings: Sequence[Ranking]
) -> dict[str, Floats]:
    """Return likewise what those answer that take the cells of queries, (Q, D), as the index ranks them, (Q,)."""
    return {
        CLASSIFIER: _probable_cells(searcher, rankings),
        PIGEON_REFINER: PIGEON.points(searcher, queries, rankings),
        PIGEOTTO_REFINER: PIGEOTTO.points(searcher, queries, rankings),
    }


def _cell_prior(searcher: Searcher) -> tuple[float, float]:
    geography = searcher.geography
    cell = int(geography.cell_images.argmax())
    return float(geography.cell_lat[cell]), float(geography.cell_lon[cell])


def _probable_cells(searcher: Searcher, rankings: Sequence[Ranking]) -> Floats:
    cells = np.array([ranking.logits.argmax() for ranking in rankings])
    return np.stack([searcher.geography.cell_lat[cells], searcher.geography.cell_lon[cells]], axis=1)


def _nearest_clusters(searcher: Searcher, queries: NDArray[np.float32]) -> Floats:
    """Return the centroid of the cluster, out of all that hold photos, whose geo-embedding is closest."""
    clusters, vectors, _ = searcher.ann.contents()
    geography = searcher.geography
    held = geography.images[clusters] > 0
    best = clusters[held][nearest_images(queries, vectors[held], 1).rows[:, 0]]
    return np.stack([geography.lat[best], geography.lon[best]], axis=1)
