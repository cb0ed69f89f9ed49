"""Published ways to answer, against plain loops over the same numbers."""

from dataclasses import replace

import numpy as np
import pytest

import geoindex
from geoindex.evaluation.answers import Answers, ranked
from geoindex.evaluation.neighbours import Neighbours, density_points, nearest_images
from geoindex.evaluation.queries import split_queries
from geoindex.evaluation.refiner import PIGEON, PIGEOTTO, Refiner, nearest_members
from geoindex.evaluation.rivals import (
    CELL_PRIOR,
    CLASSIFIER,
    CLUSTER_GALLERY,
    DENSITY,
    PIGEON_REFINER,
    PIGEOTTO_REFINER,
    ranked_rival_points,
    rival_points,
)
from geoindex.geo import haversine_km

PARIS, SYDNEY = (48.9, 2.3), (-33.9, 151.2)


@pytest.fixture(scope="module")
def asked(index):
    return split_queries(index, "test")


@pytest.fixture(scope="module")
def rankings(index, asked):
    return next(ranked(index, asked))[1]


@pytest.fixture(scope="module")
def unsure(rankings):
    """The rankings with cells shuffled by chance, so that cells and clusters disagree."""
    rng = np.random.default_rng(0)
    return [replace(r, logits=rng.normal(size=len(r.logits)).astype(np.float32)) for r in rankings]


@pytest.fixture(scope="module")
def rivals(index, asked, rankings):
    near = nearest_images(asked.embeddings, index.searcher.sidecar.gallery.live_embeddings())
    own = ranked_rival_points(index.searcher, asked.embeddings, rankings)
    return own | rival_points(index.searcher, asked.embeddings, near)


def voted(similarity, positions):
    """Return where one query's neighbours crowd."""
    near = Neighbours(np.arange(len(positions))[None], np.array([similarity], np.float32))
    return tuple(density_points(near, *np.array(positions, float).T)[0])


def test_chunks_do_not_change_the_nearest_images(monkeypatch):
    rng = np.random.default_rng(0)
    asked, stored = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(300, 6)).astype(np.float16)
    products = asked @ stored.astype(np.float32).T
    wanted = np.argsort(-products, axis=1)[:, :40]
    monkeypatch.setattr("geoindex.evaluation.neighbours.CHUNK_IMAGES", 37)
    monkeypatch.setattr("geoindex.evaluation.neighbours.CHUNK_QUERIES", 11)
    found = nearest_images(asked, stored, 40)
    assert np.array_equal(found.rows, wanted)
    assert found.similarity == pytest.approx(np.take_along_axis(products, wanted, axis=1), abs=1e-5)


def test_a_small_gallery_has_fewer_neighbours():
    unit = np.eye(3, dtype=np.float32)
    assert nearest_images(unit[:2], unit.astype(np.float16)).rows[:, 0].tolist() == [0, 1]
    assert nearest_images(unit[:2], unit.astype(np.float16)).rows.shape == (2, 3)


def test_many_neighbours_in_one_place_outvote_one_that_is_a_little_nearer():
    places = [SYDNEY, PARIS, PARIS, PARIS]
    assert voted([0.501, 0.5, 0.5, 0.5], places) == PARIS
    assert voted([0.9, 0.5, 0.5, 0.5], places) == SYDNEY  # the squared distance is a fifth: 5**10 times the weight


def test_copies_of_the_photo_have_a_finite_weight():
    assert voted([1.0, 1.0, 0.2], [PARIS, PARIS, SYDNEY]) == PARIS


def test_the_answer_is_the_most_similar_photo_near_the_peak():
    peak, near, far = (50.0, 10.0), (50.0, 10.9), (50.0, 13.0)  # 64 and 214 km from the peak
    assert voted([0.52, 0.51, 0.5, 0.5, 0.5], [far, near, peak, peak, peak]) == near


def test_neighbours_crowd_over_the_antimeridian():
    assert voted([0.51, 0.51, 0.5, 0.5], [PARIS, PARIS, (0.0, 179.9), (0.0, -179.9)]) == PARIS
    both_sides = [PARIS, PARIS, (0.0, 179.9), (0.0, -179.9), (0.0, 179.8)]
    assert voted([0.5] * 5, both_sides) == (0.0, 179.9)


def test_chunks_do_not_change_the_density(monkeypatch, index, asked, rivals):
    near = nearest_images(asked.embeddings, index.searcher.sidecar.gallery.live_embeddings())
    monkeypatch.setattr("geoindex.evaluation.neighbours.CHUNK_VOTES", 3)
    again = density_points(near, *index.searcher.sidecar.gallery.positions())
    assert np.array_equal(again, rivals[DENSITY])


def test_the_cell_prior_is_the_cell_with_most_photos(index, rivals):
    geography = index.searcher.geography
    cell = max(range(len(geography.cell_images)), key=lambda c: geography.cell_images[c])
    assert (rivals[CELL_PRIOR] == (geography.cell_lat[cell], geography.cell_lon[cell])).all()


def test_the_classifier_answers_with_the_centroid_of_the_most_probable_cell(index, asked, rivals):
    geography = index.searcher.geography
    weighed = index.searcher.ann.cells.exact(asked.embeddings) * index.searcher.ranker.scales.cell
    cells = (weighed + index.searcher.ranker.weights.cell).argmax(axis=1)
    wanted = np.stack([geography.cell_lat[cells], geography.cell_lon[cells]], axis=1)
    assert np.array_equal(rivals[CLASSIFIER], wanted)


def test_the_gallery_of_clusters_is_searched_whole(index, asked, rivals):
    clusters, vectors, _ = index.searcher.ann.contents()
    best = clusters[(asked.embeddings @ vectors.astype(np.float32).T).argmax(axis=1)]
    geography = index.searcher.geography
    assert np.array_equal(rivals[CLUSTER_GALLERY], np.stack([geography.lat[best], geography.lon[best]], axis=1))


def refined(searcher, query, logits, settings):
    """Return what the refiner answers to one query, by loops over cells, clusters and photos."""
    geography, gallery = searcher.geography, searcher.sidecar.gallery
    clusters, vectors, _ = searcher.ann.contents()
    vector_of = dict(zip(clusters.tolist(), vectors.astype(float), strict=True))
    candidates = []
    for cell in np.argsort(-logits)[: settings.top_cells]:
        alive = [m for m in np.flatnonzero(geography.cell == cell).tolist() if len(gallery.members(m))]
        if alive:
            distance, best = min((float(np.linalg.norm(query - vector_of[m])), m) for m in alive)
            candidates.append((np.exp(logits[cell]), distance, best))
    shares = np.exp([-distance / settings.temperature for _, distance, _ in candidates])
    scores = [p * share for (p, _, _), share in zip(candidates, shares / shares.sum(), strict=True)]
    members = gallery.members(candidates[int(np.argmax(scores))][2])
    row = members[[int((gallery.vectors(members).astype(np.float32) @ query).argmax())]]
    lat, lon = (float(values[0]) for values in gallery.places(row))
    guess = int(np.argmax(logits))
    first = (geography.cell_lat[guess], geography.cell_lon[guess])
    return (lat, lon) if haversine_km(lat, lon, *first) <= settings.cap_km else first


SETTINGS = [PIGEON, PIGEOTTO, Refiner(3, 100.0, 1.6), Refiner(8, 20_100.0, 0.001), Refiner(1, 20_100.0, 1.0)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("sure", [True, False])
def test_the_refiner_is_that_of_plain_loops(index, asked, rankings, unsure, settings, sure):
    rankings = rankings if sure else unsure
    found = settings.points(index.searcher, asked.embeddings, rankings)
    wanted = [
        refined(index.searcher, query, ranking.logits.astype(float), settings)
        for query, ranking in zip(asked.embeddings, rankings, strict=True)
    ]
    assert found == pytest.approx(np.array(wanted))


def test_the_cap_falls_back_to_the_first_guess(index, asked, rankings):
    capped = Refiner(3, 100.0, 1.6).points(index.searcher, asked.embeddings, rankings)
    centroids = np.stack([index.searcher.geography.cell_lat, index.searcher.geography.cell_lon], axis=1)
    on_centroid = (capped[:, None] == centroids[None]).all(axis=2).any(axis=1)
    assert 0 < on_centroid.sum() < len(on_centroid)


def test_prototypes_count(index, asked, unsure):
    answers = [settings.points(index.searcher, asked.embeddings, unsure) for settings in SETTINGS[3:]]
    assert not np.array_equal(*answers)


def test_the_refiner_answers_with_photos_most_like_the_query(index, asked):
    gallery = index.searcher.sidecar.gallery
    cluster = int(index.searcher.geography.images.argmax())
    clusters = np.full(len(asked.ids), cluster)
    rows = nearest_members(index.searcher, asked.embeddings, clusters)
    products = gallery.vectors(gallery.members(cluster)).astype(np.float32) @ asked.embeddings.T
    assert np.array_equal(rows, gallery.members(cluster)[products.argmax(axis=0)])
    assert (products.argmax(axis=0) != products.argmin(axis=0)).any()


def test_what_was_removed_is_in_no_rival(index_folder, tiny_encoder):
    opened = geoindex.open_index(index_folder, encoder=tiny_encoder)
    gallery, geography = opened.searcher.sidecar.gallery, opened.searcher.geography
    gone = np.concatenate([gallery.members(m) for m in np.flatnonzero(geography.cell == 0).tolist()])
    centroids = set(zip(*gallery.places(gone), strict=True))
    centroids |= {(geography.cell_lat[0], geography.cell_lon[0])}
    centroids |= set(zip(geography.lat[geography.cell == 0], geography.lon[geography.cell == 0], strict=True))
    before = answered(opened)
    opened.remove([fact["id"] for fact in gallery.facts(gone)])
    after = answered(opened)
    assert any(centroids & points for points in before.values())
    assert not any(centroids & points for points in after.values())


def answered(index):
    asked = split_queries(index, "test")
    near = nearest_images(asked.embeddings, index.searcher.sidecar.gallery.live_embeddings())
    points = Answers.of(index, asked, 0).rivals | rival_points(index.searcher, asked.embeddings, near)
    assert set(points) == {CELL_PRIOR, DENSITY, CLASSIFIER, CLUSTER_GALLERY, PIGEON_REFINER, PIGEOTTO_REFINER}
    return {name: set(map(tuple, each)) for name, each in points.items()}
