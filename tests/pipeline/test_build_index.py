"""Builds: what they publish, small galleries, bad images."""

import numpy as np
import pytest
from tiles import (
    HUBS,
    KEYS,
    PER_HUB,
    PHOTOS,
    build,
    partial_folders,
    points,
    stored,
    tile,
    world_rows,
    write_table,
    write_world,
)

import geoindex
from geoindex.errors import (
    ConfigError,
    EmptyDatasetError,
)
from geoindex.geo import haversine_km
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images
from geoindex.store.tables import LanceTables


class TestBuild:
    """What a build publishes."""

    def test_counts_add_up(self, built):
        counts = built.counts
        assert counts["images"] == PER_HUB * len(HUBS)
        assert counts["gallery"] + counts["val"] + counts["test"] == counts["images"]
        assert counts["cells"] == 8
        assert counts["clusters"] >= counts["cells"]
        assert (built.generation, built.failed, built.left_out) == ("000001", 0, {})
        assert sum(stored(built.path, "cells", "n_images")) == counts["gallery"]
        assert sum(stored(built.path, "clusters", "n_images")) == counts["gallery"]

    def test_nothing_is_left_over(self, built):
        assert partial_folders(built.path) == []
        assert not (built.path / "work").exists()
        assert {p.name for p in built.path.iterdir()} <= {"CURRENT", ".lock", "generations", "tables", "encoder"}

    def test_validation_and_test_are_never_in_the_gallery(self, built, index):
        images = stored_images(IndexFolder(built.path), index.manifest.tables["images"])
        split = dict(zip(images.facts["id"].to_pylist(), images.facts["split"].to_pylist(), strict=True))
        gallery = index.searcher.sidecar.gallery.ids()
        assert {split[name] for name in gallery} == {"train"}
        assert len(gallery) == list(split.values()).count("train")
        answers = index.query_images(PHOTOS, evidence=50)
        assert {split[e.id] for a in answers for e in a.evidence} == {"train"}

    def test_cells_are_where_the_tiles_are(self, built):
        lat, lon = stored(built.path, "cells", "lat"), stored(built.path, "cells", "lon")
        for hub in HUBS.values():
            assert haversine_km(lat, lon, *hub).min() < 100

    def test_the_report_is_data_and_text(self, built):
        facts = built.to_dict()
        assert facts["path"] == str(built.path)
        assert facts["failed"] == 0
        assert "79 gallery images" in built.to_text()

    def test_split_none_puts_everything_into_the_gallery(self, world, tmp_path):
        report = build(world, tmp_path / "index", split_by="none")
        assert (report.counts["gallery"], report.counts["val"], report.counts["test"]) == (96, 0, 0)

    def test_split_by_label_keeps_authors_together(self, world, tmp_path):
        report = build(world, tmp_path / "index", split_by="author")
        folder = IndexFolder(report.path)
        facts = folder.tables.read("images", folder.current().manifest.tables["images"], ["row", "author", "split"])
        pairs = set(zip(facts["author"].to_pylist(), facts["split"].to_pylist(), strict=True))
        assert len(pairs) == len({author for author, _ in pairs}) == 24

    def test_too_little_validation_keeps_the_defaults(self, index):
        assert index.manifest.rule == {"name": "score", "chosen_on": "default"}
        assert index.manifest.posterior["fitted_on"] == "defaults"

    def test_enough_validation_fits_scales_and_rule(self, world, tmp_path):
        report = build(world, tmp_path / "index", split_ratio=(0.5, 0.4, 0.1))
        manifest = IndexFolder(report.path).current().manifest
        assert manifest.counts["val"] >= 30
        assert manifest.posterior["fitted_on"] == "validation"
        assert manifest.posterior["cell_nats"] < manifest.posterior["cell_nats_uniform"]
        assert manifest.rule["chosen_on"] == "validation"
        assert max(manifest.rule["geoscore"], key=manifest.rule["geoscore"].get) == manifest.rule["name"]

    def test_a_rule_of_the_recipe_is_kept(self, world, tmp_path):
        report = build(world, tmp_path / "index", search={"rule": "distance", "prior": "on"})
        assert report.rule == {"name": "distance", "chosen_on": "recipe"}
        assert IndexFolder(report.path).current().manifest.posterior["prior"] is True

    def test_a_sample_of_the_source_is_taken(self, world, tmp_path):
        assert build(world, tmp_path / "index", sample=20).counts["images"] == 20

    def test_a_projection_is_fitted_and_applied(self, world, tmp_path):
        report = build(world, tmp_path / "index", encoding={"device": "cpu", "projection": "whiten", "dim": 4})
        opened = geoindex.open_index(report.path)
        assert opened.manifest.dim == 4
        assert float(haversine_km(*HUBS["jp"], *points(opened, PHOTOS)[5][:2])) < 500

    def test_the_encoder_of_a_file_is_kept_in_the_index(self, world, tmp_path, tiny_encoder):
        tiny_encoder.save(tmp_path / "encoder")
        report = build(world, tmp_path / "index", encoder=str(tmp_path / "encoder"))
        (tmp_path / "encoder").rename(tmp_path / "gone")
        opened = geoindex.open_index(report.path)
        assert opened.query_image(PHOTOS[0]).encoder == opened.manifest.encoder["fingerprint"]
        assert geoindex.rebuild_index(report.path).generation == "000002"

    def test_a_second_build_is_a_second_generation(self, world, index_folder):
        report = build(world, index_folder)
        assert report.generation == "000002"
        assert IndexFolder(index_folder).current().manifest.parent == "000001"

    def test_the_same_build_gives_the_same_index(self, world, built, index, tmp_path, tiny_encoder):
        report = build(world, tmp_path / "again")
        again = geoindex.open_index(report.path, encoder=tiny_encoder)
        assert points(again, PHOTOS) == points(index, PHOTOS)
        for table in ("cells", "clusters"):
            for column in ("lat", "lon", "site_lat", "site_lon", "embedding"):
                assert np.array_equal(stored(report.path, table, column), stored(built.path, table, column))


class TestSmall:
    """Galleries of next to nothing."""

    def rows(self, *positions):
        return [(f"{i}.jpg", lat, lon, "", "") for i, (lat, lon) in enumerate(positions)]

    @pytest.mark.parametrize(
        "positions",
        [
            [(48.0, 2.0)],
            [(48.0, 2.0), (48.0, 2.0)],
            [(48.0, 2.0), (-33.0, 151.0)],
            [(10.0, 10.0), (-10.0, -170.0)],
            [(48.0, 2.0), (48.1, 2.1), (-33.0, 151.0)],
            [(90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (0.0, -180.0)],
            [(48.0, 2.0)] * 40,
        ],
    )
    def test_it_answers(self, tmp_path, positions):
        table = write_world(tmp_path / "few", self.rows(*positions))
        report = build(table, tmp_path / "index", split_by="none")
        assert report.counts["gallery"] == len(positions)
        opened = geoindex.open_index(report.path)
        for lat, lon in positions:
            answer = opened.query_image(tile(lat, lon))
            assert sum(c.probability for c in answer.candidates) <= 1 + 1e-9
            if len(set(positions)) == 1:
                assert float(haversine_km(answer.lat, answer.lon, lat, lon)) < 1
            assert np.isfinite([answer.lat, answer.lon, answer.radius_km]).all()
        assert geoindex.rebuild_index(report.path).generation == "000002"
        assert geoindex.evaluate(report.path, split="train").count == len(positions)

    def test_splits_of_three_images_have_a_gallery(self, tmp_path):
        table = write_world(tmp_path / "few", self.rows((1.0, 1.0), (2.0, 2.0), (3.0, 3.0)))
        report = build(table, tmp_path / "index")
        assert report.counts["gallery"] >= 1

    def test_whitening_of_two_images(self, tmp_path):
        table = write_world(tmp_path / "few", self.rows((1.0, 1.0), (60.0, 100.0)))
        report = build(table, tmp_path / "index", split_by="none", encoding={"projection": "whiten", "device": "cpu"})
        assert np.isfinite(geoindex.open_index(report.path).query_image(tile(1.0, 1.0)).radius_km)


class TestBadImages:
    """Images that cannot be read among those that can."""

    def test_they_are_left_out_counted_and_named(self, tmp_path):
        rows = world_rows(per_hub=3)
        table = write_world(tmp_path / "world", rows)
        (table.parent / rows[0][0]).write_bytes(b"")
        photo = table.parent / rows[1][0]
        photo.write_bytes(photo.read_bytes()[:-100])
        (table.parent / rows[2][0]).unlink()
        report = build(table, tmp_path / "index", split_by="none")
        assert (report.failed, report.counts["images"]) == (3, 21)
        assert sorted(name for e in report.left_out.values() for name in e["examples"]) == sorted(
            r[0] for r in rows[:3]
        )
        opened = geoindex.open_index(report.path)
        ids = opened.searcher.sidecar.gallery.ids()
        assert sorted(ids) == sorted(row[0] for row in rows[3:])
        assert opened.manifest.left_out == report.left_out
        text = report.to_text()
        assert all(row[0] in text for row in rows[:3])

    def test_rows_without_a_position_are_left_out(self, tmp_path):
        rows = world_rows(per_hub=2)
        table = write_world(tmp_path / "world", rows)
        write_table(table, [*rows, ("x.jpg", 91.0, 0.0, "", ""), ("y.jpg", "", 5.0, "", ""), ("z.jpg", 0, 0, "", "")])
        report = build(table, tmp_path / "index", split_by="none")
        assert (report.failed, report.counts["images"]) == (3, 16)
        assert "latitude is outside -90..90" in report.left_out

    def test_none_readable_is_an_error(self, tmp_path):
        table = write_table(tmp_path / "metadata.csv", world_rows(per_hub=2))
        with pytest.raises(EmptyDatasetError, match="None of the 16 images could be read"):
            build(table, tmp_path / "index")
        assert not (tmp_path / "index" / "CURRENT").exists()

    def test_features_follow_their_images_when_some_are_missing(self, tmp_path, monkeypatch, tiny_encoder):
        """Every image keeps its own features and position, over several shards with holes."""
        monkeypatch.setattr("geoindex.embed.SHARD_SAMPLES", 5)
        rows = world_rows(per_hub=4)
        table = write_world(tmp_path / "world", rows)
        for name, *_ in rows[0:32:3]:
            (table.parent / name).unlink()
        report = build(table, tmp_path / "index", split_by="none")
        opened = geoindex.open_index(report.path, encoder=tiny_encoder)
        gallery = opened.searcher.sidecar.gallery
        wanted = opened.projection.apply(
            tiny_encoder.encode([table.parent / fact["image"] for fact in gallery.facts(np.arange(len(gallery)))])
        )
        assert len(gallery) == 21
        assert np.allclose(np.array(gallery.live_embeddings(), np.float32), wanted, atol=5e-3)
        position = {name: (lat, lon) for name, lat, lon, *_ in rows}
        for row in gallery.facts(np.arange(21)):
            assert (row["lat"], row["lon"]) == pytest.approx(position[row["id"]])


def test_lance_keeps_the_versions_of_every_generation(index_folder):
    geoindex.rebuild_index(index_folder)
    geoindex.rebuild_index(index_folder)
    tables = LanceTables(index_folder / "tables")
    for name in ("000001", "000002", "000003"):
        manifest = geoindex.store.manifest.parse_manifest(
            (index_folder / "generations" / name / "manifest.json").read_bytes(), index_folder
        )
        for table, version in manifest.tables.items():
            first = "row" if table == "images" else table[:-1]
            assert len(tables.read(table, version, [first])) == manifest.counts[table]


def test_a_split_that_cannot_be_made_fails_before_anything_is_embedded(world, tmp_path):
    with pytest.raises(ConfigError, match="nonsense"):
        geoindex.build_index(world, out=tmp_path / "index", **{**KEYS, "split_by": "nonsense"})
    assert not (tmp_path / "index").exists()
