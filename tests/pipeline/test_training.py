"""Geo-embeddings that are learned when an index is built."""

import numpy as np
import pytest
from tiles import KEYS, PHOTOS, build, points, stored, world_rows, write_world

import geoindex
from geoindex.ann import NO_CLUSTER
from geoindex.encoder.projection import Projection
from geoindex.search.searcher import Searcher
from geoindex.store.generations import IndexFolder

LEARN = {"training": {"method": "features", "epochs": 4, "images": 2, "places": 8}}


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    table = write_world(folder / "world", world_rows(per_hub=20))
    return build(table, folder / "index", **LEARN).path


def test_the_manifest_tells_how_they_were_learned(learned):
    training = IndexFolder(learned).current().manifest.training
    assert training["history"][0]["epoch"] == 0
    assert 2 <= len(training["history"]) <= 5
    scores = [row["geoscore"] for row in training["history"]]
    assert scores[training["best_epoch"]] == max(scores)


def test_the_rows_of_the_heads_are_the_geo_embeddings_of_the_index(learned):
    generation = IndexFolder(learned).current()
    searcher = Searcher.open(generation)
    queries = searcher.sidecar.gallery.vectors(np.arange(20)).astype(np.float32)
    cells, clusters = (np.stack(stored(learned, level, "embedding")) for level in ("cells", "clusters"))
    for rows in (cells, clusters):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(searcher.ann.cells.exact(queries), queries @ cells.T, atol=1e-5)
    found, scores = searcher.ann.clusters_in(queries, np.tile(np.arange(len(cells)), (len(queries), 1)))
    listed = found != NO_CLUSTER
    exact = queries @ clusters.T
    np.testing.assert_allclose(scores[listed], exact[np.nonzero(listed)[0], found[listed]], atol=1e-5)
    assert listed.sum(axis=(1, 2)).tolist() == [len(clusters)] * len(queries)


def test_without_validation_queries_go_through_the_last_projection(tmp_path, tiny_encoder):
    table = write_world(tmp_path / "world", world_rows(per_hub=4))
    path = geoindex.build_index(table, out=tmp_path / "index", split_by="none", **KEYS, **LEARN).path
    generation = IndexFolder(path).current()
    assert generation.manifest.training["best_epoch"] == 4
    projection = Projection.load(generation.whole("projection.safetensors"))
    assert not np.allclose(projection.matrix, np.eye(projection.dim), atol=1e-6)
    index = geoindex.open_index(path, encoder=tiny_encoder)
    assert len(points(index, PHOTOS)) == len(PHOTOS)
    assert geoindex.evaluate(index, split="train").own.geoscore > 3000


def test_a_rebuild_can_go_back_to_prototypes_and_learn_again(learned):
    geoindex.rebuild_index(learned, training={"method": "none"})
    assert IndexFolder(learned).current().manifest.training is None
    geoindex.rebuild_index(learned, training={"method": "features"})
    assert IndexFolder(learned).current().manifest.training is not None


@pytest.mark.parametrize(("gallery", "validation", "fitted"), [(50, 5, True), (50, 10_000, False), (10_000, 5, False)])
def test_geo_embeddings_are_fitted_by_default_where_there_are_enough_images(
    tmp_path, monkeypatch, gallery, validation, fitted
):
    from geoindex.assembly import learning

    monkeypatch.setattr(learning, "ENOUGH_GALLERY", gallery)
    monkeypatch.setattr(learning, "ENOUGH_VALIDATION", validation)
    path = geoindex.build_index("planted:200?dim=8&seed=0", out=tmp_path / "index").path
    assert (IndexFolder(path).current().manifest.training is not None) == fitted


@pytest.mark.parametrize(("projection", "starts"), [("auto", 2), ("none", 1), ("whiten", 1)])
def test_validation_chooses_between_features_as_they_are_and_whitened(tmp_path, monkeypatch, projection, starts):
    from geoindex.training import features

    seen = []
    fit = features.fit_features
    monkeypatch.setattr(features, "fit_features", lambda *args: (seen.append(len(args[2])), fit(*args))[1])
    keys = {"training": {"method": "features", "epochs": 1}, "encoding": {"projection": projection}}
    geoindex.build_index("planted:200?dim=8&seed=0", out=tmp_path / "index", **keys)
    assert seen == [starts]
