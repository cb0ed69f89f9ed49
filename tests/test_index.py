"""An open index: queries, options, precision, damage."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from tiles import HUBS, KEYS, OTHER_ENCODER, points, save_tile, snapshot, tile

import geoindex
from geoindex.encoder import load_encoder
from geoindex.errors import (
    ConfigError,
    EncoderError,
    IndexDamagedError,
    IndexNotFoundError,
    ModelMismatchError,
    UnreadableImageError,
)
from geoindex.geo import coarsen, haversine_km
from geoindex.prediction import Prediction
from geoindex.recipe import EncoderRecipe

PHOTOS = [tile(lat + 0.3, lon - 0.4) for lat, lon in HUBS.values()]


def error_km(prediction, hub):
    return float(haversine_km(prediction.lat, prediction.lon, *hub))


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
    assert set(answer.timings_ms) == {"decode", "encode", "project", "search", "answer"}
    assert [c.rank for c in answer.candidates] == [1, 2, 3]
    probability = [c.probability for c in answer.candidates]
    assert probability == sorted(probability, reverse=True)
    assert probability[0] > probability[2]
    assert [e.id[:2] for e in answer.evidence] == ["in"] * 4
    for e in answer.evidence:
        assert e.distance_km == pytest.approx(float(haversine_km(answer.lat, answer.lon, e.lat, e.lon)))
    similarity = [e.similarity for e in answer.evidence]
    assert similarity == sorted(similarity, reverse=True)


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
    geography, scales = index.searcher.geography, index.searcher.scales
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
    from geoindex.store.tables import vectors_from_arrow

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
        ({"max_precision_km": 0.0}, "must be positive"),
        ({"max_precision_km": float("nan")}, "must be positive"),
        ({"rule": "best"}, "No rule of estimation 'best'"),
        ({"topk": 3}, "No query option 'topk'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(index, options, message):
    with pytest.raises(ConfigError, match=message):
        index.query_image(PHOTOS[0], **options)


class TestPrecision:
    """`max_precision_km`: what a rounded answer tells."""

    PRECISION_KM = 100.0

    def answers(self, index, **options):
        photos = [tile(lat + d, lon + d) for lat, lon in HUBS.values() for d in (-1.0, 0.0, 1.0)]
        return list(index.query_images(photos, max_precision_km=self.PRECISION_KM, **options))

    def test_every_point_is_the_middle_of_a_tile(self, index):
        for answer in self.answers(index, evidence=20):
            for point in (answer, *answer.candidates, *answer.evidence):
                assert coarsen(point.lat, point.lon, self.PRECISION_KM) == pytest.approx((point.lat, point.lon))
            assert answer.max_precision_km == self.PRECISION_KM

    def test_ids_are_withheld_and_radii_no_smaller(self, index):
        for answer in self.answers(index):
            assert {(c.cell, c.cluster) for c in answer.candidates} == {(-1, -1)}
            assert min(answer.radius_km, *(c.radius_km for c in answer.candidates)) >= self.PRECISION_KM
            assert answer.place.startswith("near ")

    def test_evidence_is_no_nearer_than_the_precision(self, index):
        answers = self.answers(index, evidence=40)
        assert all(e.distance_km >= self.PRECISION_KM for a in answers for e in a.evidence)
        gallery = {row["id"]: row for row in index.searcher.sidecar.gallery.to_pylist()}
        for answer in answers:
            for e in answer.evidence:
                exact = gallery[e.id]
                assert float(haversine_km(answer.lat, answer.lon, exact["lat"], exact["lon"])) >= self.PRECISION_KM

    def test_answers_in_one_tile_are_equal(self, index):
        rounded = self.answers(index)
        photos = [tile(lat + d, lon + d) for lat, lon in HUBS.values() for d in (-1.0, 0.0, 1.0)]
        for exact, answer in zip(index.query_images(photos), rounded, strict=True):
            assert (answer.lat, answer.lon) == coarsen(exact.lat, exact.lon, self.PRECISION_KM)
        assert len({(a.lat, a.lon) for a in rounded}) < len(rounded)

    def test_nothing_is_finer_in_any_format(self, index):
        exact = index.query_image(PHOTOS[0])
        text = json.dumps([a.to_dict() | a.to_geojson() for a in self.answers(index)])
        for c in exact.candidates:
            assert str(c.lat) not in text
            assert c.place not in text.replace(f"near {c.place}", "")


class TestReload:
    """What an open index does when another generation is published."""

    def test_it_answers_from_its_own_generation_until_it_is_told(self, index_folder, tiny_encoder):
        opened = geoindex.open_index(index_folder, encoder=tiny_encoder)
        before = points(opened, PHOTOS)
        assert opened.reload() is False
        geoindex.rebuild_index(index_folder, geocells={"min_cells": 2, "max_cells": 4})
        assert points(opened, PHOTOS) == before
        assert opened.manifest.generation == "000001"
        assert opened.reload() is True
        assert opened.manifest.generation == "000002"
        assert opened.manifest.counts["cells"] <= 4
        assert opened.query_image(PHOTOS[0]).generation == "000002"

    def test_a_new_encoder_comes_with_the_new_generation(self, index_folder, world):
        opened = geoindex.open_index(index_folder, device="cpu")
        opened.query_image(PHOTOS[0])
        geoindex.build_index(world, out=index_folder, **KEYS | {"encoder": OTHER_ENCODER})
        opened.reload()
        fresh = geoindex.open_index(index_folder, device="cpu")
        assert points(opened, PHOTOS) == points(fresh, PHOTOS)
        assert opened.encoder.fingerprint == opened.manifest.encoder["fingerprint"]

    def test_a_given_encoder_that_no_longer_fits_is_refused_and_the_old_generation_stays(
        self, index_folder, world, tiny_encoder
    ):
        opened = geoindex.open_index(index_folder, encoder=tiny_encoder)
        before = points(opened, PHOTOS)
        geoindex.build_index(world, out=index_folder, **KEYS | {"encoder": OTHER_ENCODER})
        with pytest.raises(ModelMismatchError):
            opened.reload()
        assert opened.manifest.generation == "000001"
        assert points(opened, PHOTOS) == before

    def test_a_damaged_generation_is_not_moved_to(self, index_folder, tiny_encoder):
        opened = geoindex.open_index(index_folder, encoder=tiny_encoder)
        before = points(opened, PHOTOS)
        report = geoindex.rebuild_index(index_folder)
        (index_folder / "generations" / report.generation / "projection.safetensors").unlink()
        with pytest.raises(IndexDamagedError):
            opened.reload()
        assert points(opened, PHOTOS) == before
        assert opened.query_image(PHOTOS[0]).generation == "000001"


class TestPackageQuery:
    """`geoindex.query_image`, which opens an index once."""

    def test_it_sees_a_new_generation(self, index_folder):
        assert geoindex.query_image(PHOTOS[0], index=index_folder).generation == "000001"
        geoindex.rebuild_index(index_folder)
        assert geoindex.query_image(PHOTOS[0], index=str(index_folder)).generation == "000002"

    def test_it_takes_an_open_index(self, index):
        assert geoindex.query_image(PHOTOS[0], index=index, top_k=1).candidates[0].rank == 1

    def test_the_default_comes_from_the_environment(self, built, monkeypatch, tmp_path):
        monkeypatch.setenv("GEOINDEX_HOME", str(built.path))
        assert error_km(geoindex.query_image(PHOTOS[0]), HUBS["nl"]) < 500
        monkeypatch.delenv("GEOINDEX_HOME")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(IndexNotFoundError, match="indexes/default"):
            geoindex.query_image(PHOTOS[0])


class TestDamage:
    """Files that do not hold what was written."""

    FILES = ("index.faiss", "cells.arrow", "clusters.arrow", "gallery.arrow", "gallery.npy", "projection.safetensors")

    def generation(self, folder):
        return folder / "generations" / "000001"

    def test_these_are_the_files(self, built):
        names = {p.name for p in self.generation(built.path).iterdir()}
        assert names == {*self.FILES, "manifest.json"}

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("how", ["gone", "short", "zeros"])
    def test_a_damaged_file_is_one_sentence(self, index_folder, name, how):
        path = self.generation(index_folder) / name
        if how == "gone":
            path.unlink()
        else:
            size = path.stat().st_size
            path.write_bytes(bytes(size) if how == "zeros" else path.read_bytes()[: size // 2])
        with pytest.raises((IndexDamagedError, EncoderError), match=r"^[^\n]+(rebuild|build the index again)[^\n]*\.$"):
            geoindex.open_index(index_folder)
        geoindex.rebuild_index(index_folder)
        assert geoindex.open_index(index_folder).manifest.generation == "000002"

    @pytest.mark.parametrize("content", [b"", b"{}", b"not json", b'{"generation": "000009", "sha256": "x"}', b"[1]"])
    def test_a_damaged_pointer_is_one_sentence(self, index_folder, content):
        (index_folder / "CURRENT").write_bytes(content)
        with pytest.raises(IndexDamagedError, match=r"^[^\n]+\.$"):
            geoindex.open_index(index_folder)

    def test_a_changed_manifest_is_noticed(self, index_folder):
        manifest = self.generation(index_folder) / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"prior": false', '"prior": true'))
        with pytest.raises(IndexDamagedError, match="is not the manifest"):
            geoindex.open_index(index_folder)

    def test_an_unfinished_index_says_so(self, index_folder):
        (index_folder / "CURRENT").unlink()
        with pytest.raises(IndexNotFoundError, match="never finished"):
            geoindex.open_index(index_folder)

    @pytest.mark.parametrize("kind", ["missing", "empty", "file"])
    def test_what_is_no_index_says_so(self, tmp_path, kind):
        path = tmp_path / "no-index"
        if kind == "empty":
            path.mkdir()
        elif kind == "file":
            path.write_text("x")
        with pytest.raises((IndexNotFoundError, IndexDamagedError), match=r"^[^\n]+$"):
            geoindex.open_index(path)


def test_queries_write_nothing(index_folder):
    before = snapshot(index_folder)
    opened = geoindex.open_index(index_folder)
    opened.query_image(PHOTOS[0])
    geoindex.evaluate(opened)
    assert snapshot(index_folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_index_answers(index_folder):
    for path in [index_folder, *index_folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert error_km(geoindex.open_index(index_folder).query_image(PHOTOS[0]), HUBS["nl"]) < 500
    finally:
        for path in [index_folder, *index_folder.rglob("*")]:
            path.chmod(0o755)


def test_an_index_can_be_moved(index_folder, tmp_path, index):
    moved = shutil.move(index_folder, tmp_path / "elsewhere")
    assert points(geoindex.open_index(moved), PHOTOS) == points(index, PHOTOS)
    assert geoindex.rebuild_index(moved).generation == "000002"


def test_threads_share_an_index(index):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(index.query_image, PHOTOS * 5))
    for i, answer in enumerate(answers):
        assert error_km(answer, list(HUBS.values())[i % 8]) < 500
