"""Rebuilds with another encoder: the stored images are read again, and nothing else of them changes."""

import pickle
import shutil

import numpy as np
import pytest
from tiles import (
    OTHER_ENCODER,
    PHOTOS,
    TINY_ENCODER,
    build,
    points,
    save_tile,
    snapshot,
    stored,
    world_rows,
    write_table,
    write_world,
)

import geoindex
from geoindex import embed
from geoindex.assembly.rereading import StoredRows
from geoindex.encoder import load_encoder
from geoindex.errors import ConfigError, DatasetNotFoundError, EmptyDatasetError, ModelMismatchError
from geoindex.integrity import verify_index
from geoindex.recipe import EncoderRecipe
from geoindex.store.generations import IndexFolder
from geoindex.types import LABELS

FACTS = ("id", "image", "split", "lat", "lon", "content", "source", *LABELS)


@pytest.fixture
def table(tmp_path):
    """Twenty-four tiles of this test alone."""
    return write_world(tmp_path / "world", world_rows(per_hub=3))


@pytest.fixture
def path(table, tmp_path):
    return build(table, tmp_path / "index").path


@pytest.fixture(scope="module")
def other_encoder():
    return load_encoder(OTHER_ENCODER, EncoderRecipe(device="cpu"))


def images(path):
    """Return the rows of the images table without their features."""
    folder = IndexFolder(path)
    return folder.tables.read("images", folder.current().manifest.tables["images"], ["row", *FACTS]).to_pylist()


def features(path):
    folder = IndexFolder(path)
    rows = folder.tables.read("images", folder.current().manifest.tables["images"], ["row", "features"])
    return np.array(rows["features"].to_pylist(), np.float16)


def never(*_):
    raise AssertionError("an image was read")


class TestAnotherEncoder:
    """What was stored stays as it is, but for the features."""

    def test_it_gives_the_index_that_a_build_with_it_gives(self, table, path, tmp_path, other_encoder):
        before, old = images(path), features(path)
        report = geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        assert (report.generation, report.left_out, report.failed) == ("000002", {}, 0)
        assert images(path) == before
        fresh = build(table, tmp_path / "fresh", encoder=OTHER_ENCODER).path
        np.testing.assert_array_equal(features(path), features(fresh))
        assert not np.array_equal(features(path), old)
        for name in ("cells", "clusters"):
            np.testing.assert_array_equal(stored(path, name, "embedding"), stored(fresh, name, "embedding"))
        asked, wanted = (geoindex.open_index(each, device="cpu") for each in (path, fresh))
        assert points(asked, PHOTOS) == points(wanted, PHOTOS)
        assert asked.encoder.fingerprint == other_encoder.fingerprint
        assert verify_index(path, full=True).faults == ()
        assert not (path / "work" / "rebuilding").exists()

    def test_the_recipe_says_so_from_then_on(self, path, monkeypatch):
        geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        manifest = IndexFolder(path).current().manifest
        assert (manifest.recipe["encoder"], manifest.encoder["spec"]) == (OTHER_ENCODER, OTHER_ENCODER)
        monkeypatch.setattr(embed, "prepare_image", never)
        geoindex.rebuild_index(path, geocells={"n_cells": 4})
        assert IndexFolder(path).current().manifest.encoder == manifest.encoder

    def test_features_of_the_same_encoder_are_reused(self, path, tmp_path, tiny_encoder, monkeypatch):
        before = IndexFolder(path).current().manifest
        expected = points(geoindex.open_index(path, encoder=tiny_encoder), PHOTOS)
        tiny_encoder.save(tmp_path / "mine")
        monkeypatch.setattr(embed, "prepare_image", never)
        geoindex.rebuild_index(path, encoder=str(tmp_path / "mine"))
        after = IndexFolder(path).current().manifest
        assert after.tables["images"] == before.tables["images"]
        assert after.encoder["fingerprint"] == before.encoder["fingerprint"]
        shutil.rmtree(tmp_path / "mine")
        assert points(geoindex.open_index(path, device="cpu"), PHOTOS) == expected

    def test_images_of_another_size(self, table, tmp_path):
        encoder = TINY_ENCODER.replace("img_size=16&", "")
        path = build(table, tmp_path / "index", encoder=encoder, encoding={"device": "cpu", "image_size": 16}).path
        geoindex.rebuild_index(path, encoder=encoder, encoding={"image_size": 32})
        assert geoindex.open_index(path, device="cpu").encoder.image_size == 32
        assert verify_index(path, full=True).faults == ()
        # another encoder is not asked for the pixels of the one before
        geoindex.rebuild_index(path, encoder=TINY_ENCODER)
        opened = geoindex.open_index(path, device="cpu")
        assert opened.encoder.image_size == 16
        assert opened.manifest.recipe["encoding"].keys().isdisjoint({"image_size", "mean", "std"})

    def test_other_pixels_are_for_the_encoder_that_is_there(self, path, tiny_encoder):
        before = IndexFolder(path).current().manifest
        geoindex.rebuild_index(path, encoding={"mean": (0.1, 0.2, 0.3)})
        opened = geoindex.open_index(path, device="cpu")
        assert opened.encoder.preprocessing.mean == (0.1, 0.2, 0.3)
        assert opened.encoder.fingerprint != tiny_encoder.fingerprint
        assert opened.manifest.encoder["spec"] == before.encoder["spec"]
        assert len(points(opened, PHOTOS)) == len(PHOTOS)

    def test_weights_of_its_own(self, path, tmp_path, other_encoder):
        other_encoder.save(tmp_path / "other")
        weights = tmp_path / "other" / "model.safetensors"
        encoder = TINY_ENCODER.replace("/random", "").replace("&seed=0", "")
        geoindex.rebuild_index(path, encoder=encoder, weights=str(weights))
        shutil.rmtree(tmp_path / "other")
        opened = geoindex.open_index(path, device="cpu")
        assert opened.encoder.fingerprint == other_encoder.fingerprint
        assert opened.manifest.recipe["weights"] == str(weights)
        # weights belong to the encoder that they were named with
        geoindex.rebuild_index(path, encoder=TINY_ENCODER)
        assert IndexFolder(path).current().manifest.recipe["weights"] == ""

    def test_readers_with_the_old_encoder_go_on_with_the_old_generation(self, path, tiny_encoder):
        reader, other = geoindex.open_index(path, encoder=tiny_encoder), geoindex.open_index(path, device="cpu")
        before = points(reader, PHOTOS)
        geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        with pytest.raises(ModelMismatchError, match="is not the one that built"):
            reader.reload()
        assert (points(reader, PHOTOS), reader.manifest.generation) == (before, "000001")
        assert other.reload()
        assert other.query_image(PHOTOS[0]).encoder == other.manifest.encoder["fingerprint"]


class TestImagesThatLeave:
    """Images that are gone, and photos that were removed."""

    def test_what_cannot_be_read_any_more_is_left_out(self, table, path):
        before = images(path)
        gone = ["nl-00.jpg", "jp-02.jpg"]
        (table.parent / gone[0]).unlink()
        (table.parent / gone[1]).write_bytes(b"no photo")
        report = geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        assert report.failed == 2
        assert report.left_out["there is no such file"]["examples"] == gone[:1]
        assert IndexFolder(path).current().manifest.left_out == report.left_out
        kept = [row for row in before if row["id"] not in gone]
        assert images(path) == [row | {"row": number} for number, row in enumerate(kept)]
        assert report.counts["images"] == len(kept)
        assert verify_index(path, full=True).faults == ()
        folder = IndexFolder(path)
        assert folder.generation("000001").manifest.counts["images"] == len(before)
        # the next rebuild has nothing to leave out, and the index still says what it lacks
        assert geoindex.rebuild_index(path).left_out == {}
        assert folder.current().manifest.left_out == report.left_out

    @pytest.mark.parametrize("whole", [True, False])
    def test_a_source_that_is_gone_changes_nothing(self, table, path, whole):
        if whole:
            shutil.rmtree(table.parent)
        else:
            for photo in table.parent.glob("*.jpg"):
                photo.unlink()
        before = {name: facts for name, facts in snapshot(path).items() if name != ".lock"}
        kind = DatasetNotFoundError if whole else EmptyDatasetError
        with pytest.raises(kind, match="cannot be read again") as caught:
            geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        assert "\n" not in str(caught.value)
        assert {name: facts for name, facts in snapshot(path).items() if name != ".lock"} == before

    def test_removed_photos_do_not_come_back(self, table, path):
        index = geoindex.open_index(path, device="cpu")
        chosen = [row["id"] for row in images(path) if row["split"] == "train"][1]
        before = images(path)
        index.remove([chosen])
        index.rebuild(encoder=OTHER_ENCODER)
        kept = [row for row in before if row["id"] != chosen]
        assert images(path) == [row | {"row": number} for number, row in enumerate(kept)]
        assert index.manifest.counts["removed"] == 0
        assert index.manifest.counts["images"] == len(kept)
        assert index.add(table).added == 0
        assert verify_index(path, full=True).faults == ()

    def test_photos_that_were_added_are_read_from_where_they_came_from(self, table, path, tmp_path, other_encoder):
        """Two sources, with a photo of the same name in each."""
        rows = [("nl-00.jpg", 52.5, 5.5, "nl", "me"), ("new.jpg", 40.5, -100.5, "us", "me")]
        for name, lat, lon, *_ in rows:
            save_tile(tmp_path / "more" / name, lat, lon)
        more = write_table(tmp_path / "more" / "more.csv", rows)
        index = geoindex.open_index(path, device="cpu")
        assert index.add(more, prefix="more/").added == 2
        before = images(path)
        index.rebuild(encoder=OTHER_ENCODER)
        assert images(path) == before
        assert {row["source"] for row in before} == {None, f"table:{more}"}
        for number, row in enumerate(before):
            folder = more.parent if row["source"] else table.parent
            np.testing.assert_allclose(
                features(path)[number], other_encoder.encode([folder / row["image"]])[0], atol=2e-3, rtol=2e-3
            )
        shutil.rmtree(more.parent)
        report = geoindex.rebuild_index(path, encoder=TINY_ENCODER)
        (reason,) = report.left_out
        assert f"'table:{more}' cannot be opened" in reason
        assert report.left_out[reason]["examples"] == ["more/nl-00.jpg", "more/new.jpg"]
        assert len(images(path)) == len(before) - 2

    def test_ready_embeddings_have_no_images(self, tmp_path):
        path = geoindex.build_index("planted:60?dim=8", out=tmp_path / "index").path
        with pytest.raises(ConfigError, match="was built from ready embeddings"):
            geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        assert IndexFolder(path).current().manifest.generation == "000001"


class TestStops:
    """A rebuild that was stopped embeds no image twice."""

    @pytest.mark.parametrize("after", [0, 7, 20])
    def test_it_goes_on_after_the_last_shard(self, path, monkeypatch, after):
        monkeypatch.setattr(embed, "SHARD_SAMPLES", 4)
        encode_shard, encode, shards, done = embed.encode_shard, embed._encode, [], []

        def stop(*args):
            if 4 * len(shards) >= after:
                raise KeyboardInterrupt
            shards.append(encode_shard(*args))
            return shards[-1]

        monkeypatch.setattr(embed, "_encode", lambda pixels, encoder: (done.extend(pixels), encode(pixels, encoder))[1])
        monkeypatch.setattr(embed, "encode_shard", stop)
        with pytest.raises(KeyboardInterrupt):
            geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        assert len(done) == -(-after // 4) * 4
        assert IndexFolder(path).current().manifest.generation == "000001"
        monkeypatch.setattr(embed, "encode_shard", encode_shard)
        assert geoindex.rebuild_index(path, encoder=OTHER_ENCODER).generation == "000002"
        assert len(done) == 24

    def test_images_that_are_stored_are_not_stored_again(self, path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("geoindex.rebuilding.assemble", never)
            with pytest.raises(AssertionError):
                geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        monkeypatch.setattr(embed, "prepare_image", never)
        geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
        assert IndexFolder(path).current().manifest.tables["images"] == 2
        assert not (path / "work" / "rebuilding").exists()


def test_another_rebuild_leaves_what_was_embedded_to_the_one_that_was_stopped(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.rebuilding.assemble", never)
        with pytest.raises(AssertionError):
            geoindex.rebuild_index(path, encoder=OTHER_ENCODER)
    geoindex.rebuild_index(path, geocells={"n_cells": 4})
    monkeypatch.setattr(embed, "prepare_image", never)
    assert geoindex.rebuild_index(path, encoder=OTHER_ENCODER).generation == "000003"


def test_what_reads_the_images_goes_to_other_processes_without_their_rows(path):
    folder = IndexFolder(path)
    rows = StoredRows.read_from(folder, folder.current().manifest)
    copy, image = pickle.loads(pickle.dumps(rows)), rows.scan().samples.images[0]
    assert copy.uri == rows.uri
    assert copy.file_of(image) == rows.file_of(image)
    assert copy.rows.num_rows == 0 < rows.rows.num_rows


def test_the_command(run, table, path):
    code, out, err = run("rebuild", path, "--encoder", OTHER_ENCODER, "--encoding.device", "cpu")
    assert (code, err) == (0, "")
    assert "generation 000002" in out
    (table.parent / "nl-00.jpg").unlink()
    code, out, err = run("rebuild", path, "--encoder", TINY_ENCODER)
    assert (code, err) == (3, "")
    assert "left out 1: there is no such file (such as nl-00.jpg)" in out


def test_an_interrupted_rebuild_says_that_it_goes_on(run, index_folder, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("geoindex.rebuilding.assemble", interrupt)
    code, out, err = run("rebuild", index_folder)
    assert (code, out) == (130, "")
    assert err.count("\n") == 1
    assert "the same command goes on where it stopped" in err
