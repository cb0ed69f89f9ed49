"""An open index: precision, reloading, damage, other processes."""

import json
import os
import shutil

import pytest
from tiles import HUBS, KEYS, OTHER_ENCODER, PHOTOS, error_km, points, snapshot, tile

import geoindex
from geoindex.errors import (
    EncoderError,
    IndexDamagedError,
    IndexNotFoundError,
    ModelMismatchError,
)
from geoindex.geo import coarsen, haversine_km
from geoindex.repair import repair_index


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
        gallery = {row["id"]: row for row in index.searcher.sidecar.gallery.segments[0].facts.whole().to_pylist()}
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
        assert names == {*self.FILES, "tables.json", "manifest.json", "manifest.sha256"}

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("how", ["gone", "short", "zeros"])
    def test_a_damaged_file_is_one_sentence(self, index_folder, name, how):
        path = self.generation(index_folder) / name
        if how == "gone":
            path.unlink()
        else:
            size = path.stat().st_size
            path.write_bytes(bytes(size) if how == "zeros" else path.read_bytes()[: size // 2])
        with pytest.raises((IndexDamagedError, EncoderError), match=r"^[^\n]+(repair|build the index again)[^\n]*\.$"):
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

    def test_an_index_without_its_pointer_says_so_and_is_repaired(self, index_folder):
        (index_folder / "CURRENT").unlink()
        with pytest.raises(IndexDamagedError, match="is gone; run 'geoindex repair"):
            geoindex.open_index(index_folder)
        assert repair_index(index_folder).generation == "000001"
        assert geoindex.open_index(index_folder).manifest.generation == "000001"

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
