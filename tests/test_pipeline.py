"""Builds and rebuilds: what they publish, and what is left when they stop."""

import errno
import os

import numpy as np
import pytest
from tiles import (
    HEADER,
    HUBS,
    KEYS,
    PER_HUB,
    TINY_ENCODER,
    points,
    snapshot,
    tile,
    world_rows,
    write_table,
    write_world,
)

import geoindex
from geoindex.assembly import gallery
from geoindex.assembly import steps as assembly
from geoindex.errors import (
    ConfigError,
    EmptyDatasetError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
)
from geoindex.geo import haversine_km
from geoindex.recipe import Recipe, recipe_from_dict
from geoindex.store.generations import IndexFolder
from geoindex.store.images import StoredImages
from geoindex.store.tables import LanceTables, vectors_from_arrow

PHOTOS = [tile(lat - 0.4, lon + 0.3) for lat, lon in HUBS.values()]


def build(source, out, **keys):
    return geoindex.build_index(source, out=out, **KEYS | keys)


def stored(path, table, column):
    folder = IndexFolder(path)
    version = folder.current().manifest.tables[table]
    values = folder.tables.read(table, version, [table[:-1] if table != "images" else "row", column])[column]
    return vectors_from_arrow(values.combine_chunks()) if "embedding" in column else values.to_numpy()


def partial_folders(path):
    return [p.name for p in (path / "generations").iterdir() if not p.name.isdigit()]


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
        images = StoredImages.read(IndexFolder(built.path).tables, index.manifest.tables["images"])
        split = dict(zip(images.facts["id"].to_pylist(), images.facts["split"].to_pylist(), strict=True))
        gallery = index.searcher.sidecar.gallery["id"].to_pylist()
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
        ids = opened.searcher.sidecar.gallery["id"].to_pylist()
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
        assert not IndexFolder(tmp_path / "index").exists()

    def test_features_follow_their_images_when_some_are_missing(self, tmp_path, monkeypatch, tiny_encoder):
        """Every image keeps its own features and position, over several shards with holes."""
        monkeypatch.setattr("geoindex.embed.SHARD_SAMPLES", 5)
        rows = world_rows(per_hub=4)
        table = write_world(tmp_path / "world", rows)
        for name, *_ in rows[0:32:3]:
            (table.parent / name).unlink()
        report = build(table, tmp_path / "index", split_by="none")
        opened = geoindex.open_index(report.path, encoder=tiny_encoder)
        gallery, embeddings = opened.searcher.sidecar.gallery, opened.searcher.sidecar.embeddings
        wanted = opened.projection.apply(tiny_encoder.encode([table.parent / n for n in gallery["image"].to_pylist()]))
        assert len(gallery) == 21
        assert np.allclose(np.array(embeddings, np.float32), wanted, atol=5e-3)
        position = {name: (lat, lon) for name, lat, lon, *_ in rows}
        for row in gallery.to_pylist():
            assert (row["lat"], row["lon"]) == pytest.approx(position[row["id"]])


class TestRebuild:
    """A rebuild makes everything but the images anew."""

    def test_it_keeps_the_images_and_moves_the_rest(self, index_folder):
        before = IndexFolder(index_folder).current().manifest
        report = geoindex.rebuild_index(index_folder, geocells={"min_cells": 2, "max_cells": 3})
        after = IndexFolder(index_folder).current().manifest
        assert (report.generation, after.parent) == ("000002", "000001")
        assert after.tables["images"] == before.tables["images"]
        assert after.tables["cells"] > before.tables["cells"]
        assert report.counts["cells"] <= 3
        assert after.recipe["geocells"]["max_cells"] == 3
        assert after.recipe["encoder"] == before.recipe["encoder"]

    def test_the_same_recipe_gives_the_same_index(self, index_folder, built, index, tiny_encoder):
        geoindex.rebuild_index(index_folder)
        for table in ("cells", "clusters"):
            for column in ("lat", "lon", "site_lat", "site_lon", "radius_km", "embedding", "embedding_sum"):
                assert np.array_equal(stored(index_folder, table, column), stored(built.path, table, column))
        rebuilt = geoindex.open_index(index_folder, encoder=tiny_encoder)
        assert points(rebuilt, PHOTOS) == points(index, PHOTOS)

    def test_it_needs_no_image(self, tmp_path):
        table = write_world(tmp_path / "world", world_rows(per_hub=3))
        path = build(table, tmp_path / "index").path
        for photo in table.parent.iterdir():
            photo.unlink()
        assert geoindex.rebuild_index(path).generation == "000002"

    def test_a_recipe_of_cells_alone_will_do(self, index_folder, tmp_path, index, tiny_encoder):
        recipe = tmp_path / "cells.toml"
        recipe.write_text("[geocells]\nmin_cells = 2\nmax_cells = 3\n")
        report = geoindex.rebuild_index(index_folder, recipe=recipe)
        assert report.counts["cells"] <= 3
        rebuilt = geoindex.open_index(index_folder, device="cpu")
        assert rebuilt.encoder.fingerprint == tiny_encoder.fingerprint
        assert rebuilt.manifest.source == index.manifest.source
        kept = ("source", "encoder", "weights", "split_by", "split_ratio", "sample", "column")
        assert [rebuilt.manifest.recipe[k] for k in kept if k in index.manifest.recipe] == [
            index.manifest.recipe[k] for k in kept if k in index.manifest.recipe
        ]

    def test_another_recipe_does_not_change_how_queries_are_prepared(self, world, tmp_path):
        encoder = TINY_ENCODER.replace("img_size=16&", "")
        pixels = {"device": "cpu", "image_size": 16, "mean": (0.4, 0.4, 0.4)}
        path = build(world, tmp_path / "index", encoder=encoder, encoding=pixels).path
        before = points(geoindex.open_index(path), PHOTOS)
        geoindex.rebuild_index(path, recipe=Recipe(source="elsewhere", encoder="timm:resnet18"))
        assert points(geoindex.open_index(path), PHOTOS) == before

    def test_a_projection_can_be_changed(self, index_folder):
        report = geoindex.rebuild_index(index_folder, encoding={"projection": "whiten", "dim": 6})
        opened = geoindex.open_index(index_folder)
        assert (report.generation, opened.manifest.dim) == ("000002", 6)
        assert float(haversine_km(*HUBS["nl"], *points(opened, PHOTOS)[0][:2])) < 500

    @pytest.mark.parametrize("keys", [{"split_by": "none"}, {"encoding": {"image_size": 64}}, {"sample": 3}])
    def test_what_made_the_images_cannot_change(self, index_folder, keys):
        with pytest.raises(ConfigError, match="A rebuild keeps the stored images"):
            geoindex.rebuild_index(index_folder, **keys)

    def test_a_recipe_that_is_missing_is_an_error(self, index_folder, tmp_path):
        with pytest.raises(ConfigError, match=r"none\.toml"):
            geoindex.rebuild_index(index_folder, recipe=tmp_path / "none.toml")

    def test_it_starts_from_the_generation_that_is_live_when_it_may_write(self, index_folder, monkeypatch):
        writing = IndexFolder.writing

        def late(folder):
            monkeypatch.undo()
            geoindex.rebuild_index(folder.root)  # another process, between the command and its lock
            return writing(folder)

        monkeypatch.setattr(IndexFolder, "writing", late)
        assert geoindex.rebuild_index(index_folder).generation == "000003"
        assert IndexFolder(index_folder).current().manifest.parent == "000002"

    def test_there_must_be_an_index(self, tmp_path):
        with pytest.raises(IndexNotFoundError):
            geoindex.rebuild_index(tmp_path / "none")
        assert not (tmp_path / "none").exists()


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


def broken(*args, **kwargs):
    raise ZeroDivisionError


STEPS = [
    "geoindex.pipeline.open_source",
    "geoindex.pipeline.embed_samples",
    "geoindex.pipeline.split_samples",
    "geoindex.pipeline.assemble",
    "geoindex.assembly.steps.divide",
    "geoindex.assembly.steps.fit_projection",
    "geoindex.assembly.steps.write_gallery",
    "geoindex.assembly.steps.describe",
    "geoindex.assembly.steps.write_sidecar",
    "geoindex.assembly.steps.TwoStageIndex.save",
    "geoindex.assembly.steps.fit_posterior",
    "geoindex.assembly.steps.record_canaries",
    "geoindex.assembly.steps.verify_generation",
    "geoindex.store.tables.LanceTables.write",
    "geoindex.store.tables.LanceTables.tag",
    "geoindex.store.generations.IndexFolder.publish",
    "geoindex.store.generations.write_durably",
    "geoindex.store.generations.sync_tree",
]
WRITING = STEPS[6:7] + STEPS[8:10] + STEPS[15:]


FAILURES = [(step, interrupted, KeyboardInterrupt) for step in STEPS]
FAILURES += [(step, broken, ZeroDivisionError) for step in STEPS[1::5]]


class TestStops:
    """Whatever stops a build leaves the live index as it was."""

    def check_unharmed(self, folder, before, encoder):
        opened = geoindex.open_index(folder, encoder=encoder)
        assert opened.manifest.generation == "000001"
        assert points(opened, PHOTOS) == before
        assert partial_folders(folder) == []
        report = geoindex.rebuild_index(folder)
        assert report.generation > "000001"
        assert points(geoindex.open_index(folder, encoder=encoder), PHOTOS) == before

    @pytest.mark.parametrize(("step", "failure", "error"), FAILURES)
    def test_a_step_that_fails(self, world, index_folder, index, tiny_encoder, monkeypatch, step, failure, error):
        before, pointer = points(index, PHOTOS), (index_folder / "CURRENT").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(step, failure)
            with pytest.raises(error):
                build(world, index_folder)
        assert (index_folder / "CURRENT").read_bytes() == pointer
        self.check_unharmed(index_folder, before, tiny_encoder)

    @pytest.mark.parametrize("step", WRITING)
    def test_a_full_disk(self, world, index_folder, index, tiny_encoder, monkeypatch, step):
        before = points(index, PHOTOS)
        with monkeypatch.context() as patch:
            patch.setattr(step, full_disk)
            with pytest.raises(StorageError, match=r"^The disk of [^\n]+ is full; [^\n]+\.$"):
                build(world, index_folder)
        self.check_unharmed(index_folder, before, tiny_encoder)

    def test_a_rebuild_that_fails(self, index_folder, index, tiny_encoder, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(assembly, "verify_generation", broken)
            with pytest.raises(ZeroDivisionError):
                geoindex.rebuild_index(index_folder)
        self.check_unharmed(index_folder, points(index, PHOTOS), tiny_encoder)

    def test_a_first_build_that_fails_leaves_no_index_and_goes_on(self, world, tmp_path, monkeypatch):
        path = tmp_path / "index"
        with monkeypatch.context() as patch:
            patch.setattr("geoindex.pipeline.assemble", interrupted)
            with pytest.raises(KeyboardInterrupt):
                build(world, path)
        with pytest.raises(IndexNotFoundError, match="never finished"):
            geoindex.open_index(path)
        with monkeypatch.context() as patch:
            patch.setattr("geoindex.embed._prepare", broken)  # no image is read again
            assert build(world, path).generation == "000001"

    def test_a_memory_mapped_file_has_its_room_on_the_disk_first(self, tmp_path):
        """Otherwise a full disk kills the process while it fills the mapping."""
        path, start = tmp_path / "sparse", b"header"
        path.write_bytes(start)
        os.truncate(path, 9_000_000)
        gallery._allocate(path)
        assert path.read_bytes() == start + bytes(9_000_000 - len(start))
        assert path.stat().st_blocks * 512 >= 9_000_000

    def test_what_a_kill_leaves_behind_is_cleared_away(self, world, index_folder):
        leftover = index_folder / "generations" / ".000002.partial"
        leftover.mkdir()
        (leftover / "gallery.npy").write_bytes(b"half")
        assert build(world, index_folder).generation == "000002"
        assert partial_folders(index_folder) == []

    def test_two_builds_at_once_are_refused(self, world, index_folder):
        before = snapshot(index_folder)
        with IndexFolder(index_folder).writing(), pytest.raises(IndexLockedError, match="Another process"):
            build(world, index_folder)
        assert snapshot(index_folder) == before

    def test_a_bad_generation_is_not_published(self, world, index_folder, monkeypatch):
        """The search index that reaches the disk is not the one that was built."""
        save = assembly.TwoStageIndex.save

        def damage(self, path):
            save(self, path)
            data = bytearray(path.read_bytes())
            data[-8:] = bytes(8)
            path.write_bytes(data)

        with monkeypatch.context() as patch:
            patch.setattr(assembly.TwoStageIndex, "save", damage)
            with pytest.raises(geoindex.GeoindexError):
                build(world, index_folder)
        assert geoindex.open_index(index_folder).manifest.generation == "000001"


class TestArguments:
    """Sources, recipes and folders."""

    def test_a_recipe_file_can_be_overridden(self, world, tmp_path):
        recipe = tmp_path / "mine.toml"
        text = f'source = "{world}"\nsplit_by = "author"\nencoder = "{TINY_ENCODER}"\n[geocells]\nmax_cells = 4\n'
        recipe.write_text(text)
        report = geoindex.build_index(recipe, split_by="none", geocells={"min_cells": 2})
        assert report.path == tmp_path / "mine"
        kept = recipe_from_dict(IndexFolder(report.path).current().manifest.recipe)
        assert (kept.split_by, kept.geocells.min_cells, kept.geocells.max_cells) == ("none", 2, 4)

    def test_the_folder_of_an_index_has_a_default(self, world, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert geoindex.build_index(world, **KEYS).path.as_posix() == f"indexes/{world.parent.name}"
        assert geoindex.build_index("planted:40?dim=8").path.as_posix() == "indexes/planted-40"

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"spilt_by": "none"}, "did you mean 'split_by'"),
            ({"geocells": {"cells": 3}}, "No recipe key 'geocells.cells'"),
            ({"sample": 0}, "at least 1"),
            ({"split_by": "colour"}, "Cannot split by 'colour'"),
            ({"geocells": 3}, "must be a section"),
            ({"encoder": "nonsense"}, "neither a folder nor a known name"),
            ({"column": ("lat",)}, "MEANING=NAME"),
        ],
    )
    def test_keys_that_cannot_be_meant_are_refused_in_a_sentence(self, world, tmp_path, keys, message):
        with pytest.raises(ConfigError, match=message) as caught:
            build(world, tmp_path / "index", **keys)
        assert "\n" not in str(caught.value)

    def test_there_must_be_a_source(self, tmp_path):
        with pytest.raises(ConfigError, match="names no source"):
            geoindex.build_index(Recipe(), out=tmp_path / "index")

    def test_a_folder_that_is_a_file_is_one_sentence(self, world, tmp_path):
        path = tmp_path / "file"
        path.write_text("x")
        with pytest.raises(StorageError, match=r"^Cannot write to [^\n]+\.$"):
            build(world, path)
        with pytest.raises(StorageError, match=r"^Cannot write to [^\n]+\.$"):
            build(world, path / "below")

    def test_columns_can_be_named(self, world, tmp_path):
        header = tuple(f"my_{name}" for name in HEADER)
        table = write_table(world.parent / "odd.csv", world_rows(), header)
        column = ("lat=my_latitude", "lon=my_longitude", "image=my_image", "author=my_author")
        report = build(table, tmp_path / "index", column=column, split_by="author")
        assert report.counts["images"] == 96


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
