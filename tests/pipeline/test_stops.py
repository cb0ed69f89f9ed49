"""What is left when a build stops."""

import errno
import os

import pytest
from tiles import (
    PHOTOS,
    build,
    partial_folders,
    points,
    snapshot,
)

import geoindex
from geoindex.ann import TwoStageIndex
from geoindex.assembly import steps as assembly
from geoindex.errors import (
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
)
from geoindex.store.generations import IndexFolder


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
    "geoindex.ann.TwoStageIndex.save",
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
            patch.setattr("geoindex.embed.prepare_image", broken)  # no image is read again
            assert build(world, path).generation == "000001"

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
        save = TwoStageIndex.save

        def damage(self, path):
            save(self, path)
            data = bytearray(path.read_bytes())
            data[-8:] = bytes(8)
            path.write_bytes(data)

        with monkeypatch.context() as patch:
            patch.setattr(TwoStageIndex, "save", damage)
            with pytest.raises(geoindex.GeoindexError):
                build(world, index_folder)
        assert geoindex.open_index(index_folder).manifest.generation == "000001"
