"""Damage of large files: opening does not read them, and whoever needs what is damaged is told."""

import json
import shutil

import numpy as np
import pytest

import geoindex
from geoindex.ann import TwoStageIndex
from geoindex.errors import GeoindexError, IndexDamagedError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store import checked
from geoindex.store.checked import CheckedFile
from geoindex.store.durable import write_durably
from geoindex.store.generations import IndexFolder
from geoindex.store.manifest import digest

BLOCK = 1024
LARGE = ("gallery.npy", "gallery.arrow", "clusters.arrow", "cells.arrow", "index.faiss")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An index whose files all count as large, in small blocks."""
    path = tmp_path_factory.mktemp("large") / "index"
    return build_in_blocks(path, "ratio")


def build_in_blocks(path, split_by):
    keys = {"training": {"method": "none"}, "geocells": {"n_cells": 40}, "split_by": split_by}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checked, "CHECKED_BYTES", 0)
        patch.setattr(checked, "BLOCK_BYTES", BLOCK)
        geoindex.build_index("planted:500?dim=16&seed=0", out=path, **keys)
    return path


@pytest.fixture(scope="module")
def queries(sound):
    """Embeddings that come to different cells."""
    rows = np.asarray(geoindex.open_index(sound).searcher.sidecar.gallery.live_embeddings()[::100], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def truth(sound, queries):
    return answers(sound, queries)


@pytest.fixture
def index(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "index")


def answers(path, queries, **options):
    """Return what each query is answered, or None where it is told of damage."""
    opened, found = geoindex.open_index(path), []
    for query in queries:
        try:
            [answer] = opened.query_embeddings(query[None], top_cells=2, **options)
            found.append((answer.lat, answer.lon, answer.place, answer.candidates, answer.evidence))
        except IndexDamagedError:
            found.append(None)
    return found


def live_file(path, name):
    return path / "generations" / "000001" / name


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)


def test_every_file_has_digests_of_its_blocks(sound):
    manifest = IndexFolder(sound).current().manifest
    for name in (*LARGE, "projection.safetensors"):
        record, blocks = manifest.files[name], manifest.files[f"{name}.blocks"]
        assert record.block_bytes == BLOCK
        assert record.sha256 == blocks.sha256
        assert blocks.bytes == 32 * -(-record.bytes // BLOCK)
    assert verify_index(sound, full=True).faults == ()
    assert repair_index(sound).steps == ()


@pytest.mark.parametrize("name", LARGE)
def test_every_damaged_block_is_told_or_harmless_and_found_by_a_full_look(index, queries, truth, name):
    path, told, harmless = live_file(index, name), 0, 0
    for position in range(BLOCK // 3, path.stat().st_size, BLOCK):
        flip(path, position)
        try:
            found = answers(index, queries)
        except IndexDamagedError:
            found = [None] * len(queries)
        for answer, right in zip(found, truth, strict=True):
            assert answer in (None, right)
        told += found.count(None)
        harmless += len(found) - found.count(None)
        with pytest.raises(IndexDamagedError, match=rf"{name}' does not have the checksum"):
            IndexFolder(index).current().check()
        flip(path, position)
    assert told
    assert harmless or name in ("cells.arrow", "clusters.arrow")  # opening reads where all of them lie
    assert answers(index, queries) == truth


def test_answers_without_evidence_do_not_need_the_embeddings_of_the_gallery(queries, tmp_path):
    index = build_in_blocks(tmp_path / "index", "none")  # without validation stored images have no share of the answer
    before = answers(index, queries, evidence=0)
    path = live_file(index, "gallery.npy")
    for position in range(BLOCK, path.stat().st_size, BLOCK):
        flip(path, position)
    assert answers(index, queries, evidence=0) == before
    with pytest.raises(IndexDamagedError, match=r"gallery\.npy' is not what was written at bytes .* 'geoindex repair"):
        geoindex.open_index(index).query_embeddings(queries)
    assert answers(index, queries) == [None] * len(queries)
    assert any("gallery.npy" in fault for fault in verify_index(index, full=True).faults)
    assert repair_index(index).generation == "000002"
    assert None not in answers(index, queries)


def test_a_cell_that_is_not_probed_needs_no_list(index, queries):
    path = live_file(index, "index.faiss")
    flip(path, path.stat().st_size - 1)
    ann = TwoStageIndex.load(IndexFolder(index).current().checked("index.faiss"))
    last = np.flatnonzero([len(ann._list(cell)[0]) for cell in range(ann.n_cells)])[-1:]
    for cell in range(ann.n_cells - 10):
        ann.clusters_in(queries[:1], np.array([[cell]]))
    for _ in range(2):  # it is as damaged the second time
        with pytest.raises(IndexDamagedError, match=r"index\.faiss' is not what was written at bytes"):
            ann.clusters_in(queries[:1], last[None])
    with pytest.raises(IndexDamagedError):
        ann.save(path.with_name("copy.faiss"))


def test_damaged_digests_are_told_at_opening(index):
    flip(live_file(index, "gallery.npy.blocks"), 40)
    with pytest.raises(IndexDamagedError, match=r"gallery\.npy\.blocks' does not have the checksum"):
        geoindex.open_index(index)


def test_a_projection_is_checked_whole(index):
    path = live_file(index, "projection.safetensors")
    flip(path, path.stat().st_size - 1)
    with pytest.raises(IndexDamagedError, match=r"projection\.safetensors' is not what was written"):
        geoindex.open_index(index)


@pytest.mark.parametrize("limit", [0, checked.CHECKED_BYTES])
def test_a_generation_from_before_there_were_blocks_opens(built, index_folder, monkeypatch, limit):
    folder = IndexFolder(index_folder)
    path = live_file(index_folder, "manifest.json")
    values = json.loads(path.read_bytes())
    del values["durability"]
    values["files"] = {name: {"bytes": r["bytes"], "sha256": r["sha256"]} for name, r in values["files"].items()}
    data = json.dumps(values).encode()
    path.write_bytes(data)
    live_file(index_folder, "manifest.sha256").unlink()
    pointer = json.dumps({"generation": "000001", "sha256": digest(data)})
    write_durably(index_folder / "CURRENT", pointer.encode())
    monkeypatch.setattr(checked, "CHECKED_BYTES", limit)
    opened = geoindex.open_index(index_folder)
    rows = np.asarray(opened.searcher.sidecar.gallery.live_embeddings()[:3], np.float32)
    vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wanted = geoindex.open_index(built.path).query_embeddings(vectors)
    found = opened.query_embeddings(vectors)
    assert [(a.lat, a.lon, a.evidence) for a in found] == [(a.lat, a.lon, a.evidence) for a in wanted]
    assert verify_index(index_folder, full=True).faults == ()
    flip(live_file(index_folder, "gallery.npy"), 999)
    assert verify_index(index_folder, full=True).faults
    assert folder.current().manifest.files["gallery.npy"].block_bytes == 0


def test_opening_a_small_file_finds_any_damage(built, index_folder):
    flip(live_file(index_folder, "gallery.npy"), 999)
    with pytest.raises(IndexDamagedError, match=r"gallery\.npy' does not have the checksum"):
        geoindex.open_index(index_folder)


def other_index(kind):
    import faiss

    vectors = np.eye(4, dtype=np.float32)
    metric = faiss.METRIC_L2 if kind == "distance" else faiss.METRIC_INNER_PRODUCT
    quantizer = faiss.IndexHNSWFlat(4, 4, metric) if kind == "graph" else faiss.IndexFlat(4, metric)
    quantizer.add(vectors[:3] if kind == "cells" else vectors)
    ivf = faiss.IndexIVFFlat(quantizer, 4, 4, metric)
    ivf.is_trained = True
    if kind != "cells":
        ivf.add(vectors)
    return quantizer if kind == "flat" else ivf


@pytest.mark.parametrize("kind", ["distance", "graph", "cells", "flat"])
def test_an_index_of_another_kind_is_refused(tmp_path, kind):
    import faiss

    faiss.write_index(other_index(kind), str(tmp_path / "index.faiss"))
    with pytest.raises(GeoindexError, match="is not an index of cells and clusters by inner product"):
        TwoStageIndex.load(CheckedFile(tmp_path / "index.faiss"))
