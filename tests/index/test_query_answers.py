"""An open index: what it answers."""

import io

import numpy as np
import pytest
from tiles import HUBS, OTHER_ENCODER, PHOTOS, error_km, points, save_tile

import geoindex
from geoindex.encoder import load_encoder
from geoindex.errors import (
    ConfigError,
    ModelMismatchError,
    UnreadableImageError,
)
from geoindex.geo import haversine_km
from geoindex.places import place_names
from geoindex.prediction import Prediction
from geoindex.recipe import EncoderRecipe


def unit(rows, dim, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_photos_are_found_where_they_were_taken(index):
    for hub, photo in zip(HUBS.values(), PHOTOS, strict=True):
        assert error_km(index.query_image(photo), hub) < 500


@pytest.mark.parametrize("rule", ["nearest", "posterior", "distance", "score"])
def test_every_rule_answers(index, rule):
    answer = index.query_image(PHOTOS[0], rule=rule)
    assert answer.rule == rule
    assert error_km(answer, HUBS["nl"]) < 1000


def test_a_prediction_names_its_origin_and_reasons(built, index):
    answer = index.query_image(PHOTOS[4], top_k=3, evidence=4)
    assert (answer.generation, answer.encoder) == ("000001", index.manifest.encoder["fingerprint"])
    assert answer.place.endswith("India")
    assert answer.confidence is None
    assert set(answer.timings_ms) == {"decode", "prepare", "encode", "project", "search", "answer"}
    assert [c.rank for c in answer.candidates] == [1, 2, 3]
    probability = [c.probability for c in answer.candidates]
    assert probability == sorted(probability, reverse=True)
    assert probability[0] > probability[2]
    assert [e.id[:2] for e in answer.evidence] == ["in"] * 4
    for e in answer.evidence:
        assert e.distance_km == pytest.approx(float(haversine_km(answer.lat, answer.lon, e.lat, e.lon)))
    similarity = [e.similarity for e in answer.evidence]
    assert similarity == sorted(similarity, reverse=True)


@pytest.mark.parametrize("rule", ["nearest", "posterior", "distance", "score"])
def test_the_place_is_the_nearest_to_the_answer(index, rule):
    for answer in index.query_images(PHOTOS[::5], rule=rule, refine="images"):
        assert answer.place == place_names(answer.lat, answer.lon)[0]


def test_batches_answer_like_single_queries_and_in_order(index):
    photos = [PHOTOS[i % 8] for i in range(70)]  # more than two batches
    batch = list(index.query_images(photos))
    assert len(batch) == 70
    for i, answer in enumerate(batch):
        single = index.query_image(photos[i]) if i < 8 else batch[i - 8]
        assert (answer.lat, answer.lon) == (single.lat, single.lon)
        assert answer.radius_km == pytest.approx(single.radius_km, abs=1)


def test_no_images_give_no_answers(index):
    assert list(index.query_images([])) == []


def test_a_bad_image_in_a_batch_raises_or_stands_in_its_place(index, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not a photo")
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        list(index.query_images([PHOTOS[0], bad]))
    answers = list(index.query_images([bad, PHOTOS[1], tmp_path / "gone.jpg", PHOTOS[2], b""], on_error="return"))
    assert [type(a) for a in answers] == [
        UnreadableImageError, Prediction, UnreadableImageError, Prediction, UnreadableImageError,
    ]  # fmt: skip
    assert error_km(answers[1], HUBS["us"]) < 500
    assert error_km(answers[3], HUBS["br"]) < 500
    assert [type(a) for a in index.query_images([bad, bad], on_error="return")] == [UnreadableImageError] * 2


def test_every_kind_of_image_gives_the_same_answer(index, tmp_path):
    path = tmp_path / "photo.png"
    PHOTOS[3].save(path)
    array = np.asarray(PHOTOS[3])
    kinds = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), array]
    assert len({(a.lat, a.lon, a.radius_km) for a in index.query_images(kinds)}) == 1


def test_gps_in_the_query_changes_nothing(index, tmp_path):
    exif = {"exif": _gps(35.0, 139.0)}
    plain = save_tile(tmp_path / "plain.jpg", *HUBS["nl"])
    tagged = save_tile(tmp_path / "tagged.jpg", *HUBS["nl"], **exif)
    assert plain.read_bytes() != tagged.read_bytes()
    # one by one: two rows of a batch may differ in their last bits
    assert points(index, [plain]) == points(index, [tagged])


def _gps(lat, lon):
    from PIL import ExifTags, Image

    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[1], gps[2] = "N", (lat, 0.0, 0.0)
    gps[3], gps[4] = "E", (lon, 0.0, 0.0)
    return exif


def test_all_cells_probed_is_brute_force(index):
    """Two stages over all cells equal the softmax over the stored geo-embeddings, written out."""
    queries = unit(20, index.manifest.dim)
    geography, scales = index.searcher.geography, index.searcher.ranker.scales
    cells, clusters = _geo_embeddings(index, "cells"), _geo_embeddings(index, "clusters")
    answers = index.query_embeddings(queries, top_cells=10_000, top_k=10_000, evidence=0)
    for query, answer in zip(queries.astype(float), answers, strict=True):
        assert sum(c.probability for c in answer.candidates) == pytest.approx(1.0)
        assert sorted(c.cluster for c in answer.candidates) == list(range(len(clusters)))
        cell_weight = np.exp(scales.cell * (cells @ query))
        weight = np.exp(scales.cluster * (clusters @ query))
        for c in answer.candidates:
            inside = weight[geography.cell == c.cell].sum()
            wanted = cell_weight[c.cell] / cell_weight.sum() * weight[c.cluster] / inside
            assert c.probability == pytest.approx(wanted, rel=1e-3)
            assert c.score == pytest.approx(clusters[c.cluster] @ query, abs=1e-5)


def _geo_embeddings(index, table):
    from geoindex.store.generations import IndexFolder
    from geoindex.store.schemas import vectors_from_arrow

    tables = IndexFolder(index.path).tables
    stored = tables.read(table, index.manifest.tables[table], [table[:-1], "embedding"])
    return vectors_from_arrow(stored["embedding"].combine_chunks()).astype(float)


def test_fewer_cells_keep_the_probabilities_of_what_they_hold(index):
    (query,) = unit(1, index.manifest.dim)
    (everything,) = index.query_embeddings(query[None], top_cells=10_000, top_k=10_000)
    (some,) = index.query_embeddings(query[None], top_cells=2, top_k=10_000)
    assert len({c.cell for c in some.candidates}) == 2
    exact = {c.cluster: c.probability for c in everything.candidates}
    for c in some.candidates:
        assert c.probability == pytest.approx(exact[c.cluster])


def test_embeddings_are_answered_like_the_photos_they_come_from(index, tiny_encoder):
    embeddings = index.projection.apply(tiny_encoder.encode(PHOTOS))
    answers = index.query_embeddings(embeddings)
    for answer, photo in zip(answers, PHOTOS, strict=True):
        single = index.query_image(photo)
        assert (answer.lat, answer.lon) == (single.lat, single.lon)
    assert index.query_embeddings(np.zeros((0, index.manifest.dim), np.float32)) == []


@pytest.mark.parametrize("shape", [(2, 7), (32,), (1, 1, 32)])
def test_embeddings_of_another_shape_are_refused(index, shape):
    with pytest.raises(ModelMismatchError, match=r"it needs \(Q, 32\)\.$"):
        index.query_embeddings(np.ones(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0])
def test_embeddings_that_are_no_unit_vectors_are_refused(index, value):
    embeddings = unit(3, index.manifest.dim)
    embeddings[1] = value
    with pytest.raises(ConfigError, match=r"^Embedding 1 .*unit vector"):
        index.query_embeddings(embeddings)


@pytest.mark.parametrize("value", [[["a"] * 32], [[1.0], [1.0, 2.0]]])
def test_embeddings_that_are_no_numbers_are_refused(index, value):
    with pytest.raises(ConfigError, match="no array of numbers"):
        index.query_embeddings(value)


def test_a_way_to_meet_errors_that_there_is_not_is_refused_at_once(index):
    with pytest.raises(ConfigError, match="on_error is 'skip'; it must be 'raise' or 'return'"):
        index.query_images([b"x"], on_error="skip")


def test_many_queries_are_answered_as_few_are(index, monkeypatch):
    vectors = index.searcher.sidecar.gallery.vectors(np.arange(20)).astype(np.float32)
    wanted = index.query_embeddings(vectors)
    monkeypatch.setattr("geoindex.snapshot.RANKED_TOGETHER", 3)
    found = index.query_embeddings(vectors)
    assert [(a.lat, a.lon, a.candidates[0].cluster) for a in found] == [
        (a.lat, a.lon, a.candidates[0].cluster) for a in wanted
    ]


def test_another_encoder_is_refused(built):
    other = load_encoder(OTHER_ENCODER, EncoderRecipe(device="cpu"))
    with pytest.raises(ModelMismatchError, match="is not the one that built"):
        geoindex.open_index(built.path, encoder=other)


def test_the_index_loads_its_own_encoder(built, index):
    own = geoindex.open_index(built.path, device="cpu")
    assert points(own, PHOTOS) == points(index, PHOTOS)


def test_an_index_of_embeddings_has_no_encoder_for_images(tmp_path):
    report = geoindex.build_index("planted:300?dim=16", out=tmp_path / "planted")
    planted = geoindex.open_index(report.path)
    assert len(planted.query_embeddings(unit(2, 16))) == 2
    with pytest.raises(ModelMismatchError, match="query_embeddings"):
        planted.query_image(PHOTOS[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0; it must be at least 1"),
        ({"top_cells": 0}, "top_cells is 0"),
        ({"evidence": -1}, "evidence is -1"),
        ({"max_precision_km": 0.0}, "must be from 0.001 to 20000"),
        ({"max_precision_km": 5e-324}, "must be from 0.001 to 20000"),
        ({"max_precision_km": float("nan")}, "must be from 0.001 to 20000"),
        ({"rule": "best"}, "No rule of estimation 'best'"),
        ({"topk": 3}, "No query option 'topk'"),
        ({"top_k": "5"}, "top_k is '5'; it must be a whole number"),
        ({"top_cells": 2.5}, "top_cells is 2.5; it must be a whole number"),
        ({"evidence": True}, "evidence is True; it must be a whole number"),
        ({"top_p": "x"}, "top_p is 'x'; it must be a number"),
        ({"max_precision_km": "3"}, "max_precision_km is '3'; it must be a number"),
        ({"rule": ""}, "No rule of estimation ''"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(index, options, message):
    with pytest.raises(ConfigError, match=message):
        index.query_image(PHOTOS[0], **options)
