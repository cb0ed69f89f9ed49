"""Several builders: none writes over another, nothing that was embedded is lost."""

import numpy as np
import pytest
from tiles import KEYS, build, world_rows, write_world

import geoindex
from geoindex.errors import ConflictError, IndexLockedError, StorageError, UnreachableError
from geoindex.integrity import verify_index
from geoindex.remote import staging as stages
from geoindex.remote.staging import staging
from geoindex.store.objects import ObjectFolder
from geoindex.transfer import clone_index


def published_meanwhile(monkeypatch, way):
    """Let somebody else publish just before the next one does."""
    publish = stages.publish

    def late(*arguments):
        monkeypatch.setattr(stages, "publish", publish)
        way()
        publish(*arguments)

    monkeypatch.setattr(stages, "publish", late)


def embeddings_of(monkeypatch):
    """Return a list that grows by the images that are encoded."""
    from geoindex.encoder.encoder import Encoder

    seen, features = [], Encoder.features

    def counted(self, pixels):
        seen.extend(range(len(pixels)))
        return features(self, pixels)

    monkeypatch.setattr(Encoder, "features", counted)
    return seen


@pytest.mark.parametrize("first", [True, False])
def test_the_second_builder_is_told_and_loses_nothing(world, built, url, monkeypatch, objects, first, index_folder):
    if not first:
        clone_index(built.path, url)
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    published_meanwhile(monkeypatch, lambda: clone_index(index_folder, url))
    with pytest.raises(ConflictError, match=rf"^Somebody else published to '{url}' in the meantime, .*again\.$"):
        geoindex.build_index(world, out=url, **KEYS)
    assert geoindex.open_index(url).manifest.counts["cells"] == 4
    assert verify_index(url, full=True).faults == ()
    seen = embeddings_of(monkeypatch)
    assert geoindex.build_index(world, out=url, **KEYS).generation == "000003"
    assert seen == []  # the features are those of the first try
    assert geoindex.open_index(url).manifest.parent == "000002"


def test_clones_conflict_too(built, url, index_folder, monkeypatch):
    from geoindex import transfer

    publish = transfer.publish
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})

    def late(*arguments):
        monkeypatch.setattr(transfer, "publish", publish)
        clone_index(index_folder, url)
        publish(*arguments)

    monkeypatch.setattr(transfer, "publish", late)
    with pytest.raises(ConflictError):
        clone_index(built.path, url)
    assert geoindex.open_index(url).manifest.generation == "000002"


def test_what_was_built_and_not_sent_is_only_sent(world, url, monkeypatch, objects):
    def gone(*_):
        raise UnreachableError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(stages, "publish", gone)
        with pytest.raises(UnreachableError):
            geoindex.build_index(world, out=url, **KEYS)
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.pipeline.assemble", gone)
        report = geoindex.build_index(world, out=url, **KEYS)
    assert (report.generation, report.path) == ("000001", url)
    assert verify_index(url, full=True).faults == ()
    with staging(url) as stage:
        assert not (stage.folder / "work").exists()
        assert sorted(p.name for p in stage.home.iterdir() if "unpublished" in p.name) == []


def test_what_was_built_of_something_else_is_not_sent(tmp_path, url, monkeypatch, objects):
    def gone(*_):
        raise UnreachableError("gone")

    table = write_world(tmp_path / "world", world_rows(per_hub=6))
    with monkeypatch.context() as patch:
        patch.setattr(stages, "publish", gone)
        with pytest.raises(UnreachableError):
            build(table, url)
    write_world(tmp_path / "world", world_rows(per_hub=7))  # the folder has more photos now
    report = build(table, url)
    assert (report.generation, report.counts["images"]) == ("000001", 56)
    assert geoindex.open_index(url).manifest.parent == ""


def test_two_builds_on_one_machine(world, url):
    with staging(url), pytest.raises(IndexLockedError):
        geoindex.build_index(world, out=url, **KEYS)


def test_one_index_is_not_published_over_another(tmp_path, published):
    table = write_world(tmp_path / "world", world_rows(per_hub=6))
    other = build(table, tmp_path / "other").path
    with pytest.raises(StorageError, match=rf"^'{published}' holds generation 000001 of an index that .*FOLDER' and"):
        clone_index(other, published)
    assert verify_index(published, full=True).faults == ()


def test_a_write_whose_answer_was_lost_meets_itself(url, service):
    """It is repeated, and refused because of itself."""
    objects = ObjectFolder(url)
    objects.exchange("CURRENT", b"a", None)
    objects.exchange("CURRENT", b"a", None)
    before = objects.read("CURRENT")
    objects.exchange("CURRENT", b"b", before)
    objects.exchange("CURRENT", b"b", before)
    with pytest.raises(ConflictError):
        objects.exchange("CURRENT", b"c", before)
    assert objects.read("CURRENT").data == b"b"


def test_stopped_replacements_of_the_folder_are_taken_up(world, url, monkeypatch, tmp_path, index_folder, objects):
    """What is being replaced by what answers elsewhere may be half of one and half of the other."""
    geoindex.build_index(world, out=url, **KEYS)
    clone_index(url, tmp_path / "local")
    geoindex.rebuild_index(tmp_path / "local", geocells={"n_cells": 4})
    clone_index(tmp_path / "local", url)
    rng = np.random.default_rng(0)
    for wanted in rng.integers(0, 4, 3):
        count, rename = [], stages.Path.rename

        def stopped(self, target, count=count, wanted=wanted, rename=rename):
            if ".build.new" in str(self):
                count.append(target)
                if len(count) > wanted:
                    raise KeyboardInterrupt
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(stages.Path, "rename", stopped)
            with pytest.raises(KeyboardInterrupt):
                geoindex.build_index(world, out=url, **KEYS)
    assert geoindex.build_index(world, out=url, **KEYS).generation == "000003"
    assert geoindex.open_index(url).manifest.parent == "000002"
