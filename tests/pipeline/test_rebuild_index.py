"""Rebuilds, and the arguments of both."""

import numpy as np
import pytest
from tiles import (
    HEADER,
    HUBS,
    KEYS,
    PHOTOS,
    TINY_ENCODER,
    build,
    points,
    stored,
    world_rows,
    write_table,
    write_world,
)

import geoindex
from geoindex.errors import (
    ConfigError,
    IndexNotFoundError,
    StorageError,
)
from geoindex.geo import haversine_km
from geoindex.recipe import Recipe
from geoindex.recipe_files import recipe_from_dict
from geoindex.store.generations import IndexFolder


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

    @pytest.mark.parametrize("keys", [{"split_by": "none"}, {"source": "elsewhere"}, {"sample": 3}])
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
