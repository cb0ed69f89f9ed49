"""Damage: every file of a sound index is spoilt in every way; it is found or harmless, and repaired or told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiles import PHOTOS, points, twice_built

import geoindex
from geoindex.errors import GeoindexError, IndexDamagedError, IndexNotFoundError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder
from geoindex.store.pointer import pointer_to
from geoindex.updates.adding import add_images

DATA = Path(__file__).parent / "data"

SPOILT = {
    "truncated": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
    "flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "deleted": lambda data: None,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two generations over the same images."""
    return twice_built(tmp_path_factory.mktemp("sound"), per_hub=8)


@pytest.fixture(scope="module")
def truth(sound, tiny_encoder):
    """Points of the photos in the live generation."""
    return answers(sound, tiny_encoder)


def answers(path, encoder):
    return [each[:2] for each in points(geoindex.open_index(path, encoder=encoder), PHOTOS)]


def files_of(path):
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def spoil(path, how):
    data = SPOILT[how](path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def test_a_sound_index_is_sound(sound):
    assert verify_index(sound).faults == verify_index(sound, full=True).faults == ()
    assert "000002 is sound" in verify_index(sound, full=True).to_text()
    assert repair_index(sound).steps == ()


def needed(sound):
    """Return the files that the live generation stands on."""
    versions = IndexFolder(sound).current().manifest.tables
    records = [sound / "tables" / "checksums" / f"{table}-{version}.json" for table, version in versions.items()]
    recorded = [f"tables/{file}" for record in records for file in json.loads(record.read_text())]
    others = [name for name in files_of(sound) if name.startswith(("CURRENT", "generations/000002", "encoder"))]
    return [*others, *recorded, *(record.relative_to(sound).as_posix() for record in records)]


def check(sound, truth, folder, name, how, tiny_encoder):
    """Spoil one file; return whether a full look found it. A repair ends sound or says why."""
    index = shutil.copytree(sound, folder / "index")
    spoil(index / name, how)
    found, known = bool(verify_index(index, full=True).faults), known_ids(sound, index)
    try:
        right = answers(index, tiny_encoder) == truth
    except GeoindexError:
        right = False
    assert found or right
    repaired = repair_index(index)
    if name.startswith(("tables/images", "encoder")) and found:
        assert repaired.left == verify_index(index, full=True).faults != ()
        assert bool(repaired.lost) == name.startswith("tables")
        assert set(repaired.lost) in (set(), known)
    else:
        assert (repaired.left, repaired.lost) == ((), ())
        assert verify_index(index, full=True).faults == ()
    # other cells, where they had to be made again, but never a wrong place
    assert len(answers(index, tiny_encoder)) == len(truth)
    return found


def known_ids(sound, spoilt):
    """Ids of the photos that a repair can know of: those of its gallery if the table of all cannot be read."""
    try:
        return stored_ids(spoilt)
    except GeoindexError:
        return set(geoindex.open_index(sound).searcher.sidecar.gallery.ids())


def stored_ids(path):
    index = IndexFolder(path)
    return set(index.tables.read("images", index.current().manifest.tables["images"], ["row", "id"])["id"].to_pylist())


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(
    "name",
    [
        "CURRENT",
        "generations/000002/manifest.json",
        "generations/000002/index.faiss",
        "generations/000002/gallery.npy",
        "generations/000002/tables.json",
    ],
)
def test_damage_of_derived_files_is_found_and_repaired(sound, truth, tmp_path, name, how, tiny_encoder):
    assert check(sound, truth, tmp_path, name, how, tiny_encoder)


@pytest.mark.slow
def test_damage_of_any_file_is_found(sound, truth, tmp_path, tiny_encoder):
    missed = []
    for number, name in enumerate(needed(sound)):
        for how in SPOILT:
            folder = tmp_path / f"{number}-{how}"
            if not check(sound, truth, folder, name, how, tiny_encoder):
                missed.append((name, how))
            shutil.rmtree(folder)
    # without its record a table has no checksums to differ from; CURRENT vouches for the manifest, not its seal
    for name, how in missed:
        assert name.endswith("manifest.sha256") or ("checksums" in name and how == "deleted"), missed


def older(sound, name):
    """Return what the file that does the same held before; None if there is none, or it is the same."""
    folder, _, own = name.rpartition("/")
    if name == "CURRENT":
        manifest = sound / "generations" / "000001" / "manifest.json"
        before = json.dumps(pointer_to("000001", manifest.read_bytes())).encode()
    elif name.startswith("generations"):
        before = (sound / "generations" / "000001" / own).read_bytes()
    elif name.startswith("tables"):
        kind = own.partition("-")[0] if "checksums" in folder else ""
        alike = (path for path in (sound / folder).glob(f"{kind}*{Path(own).suffix}"))
        before = min(alike, key=lambda path: path.stat().st_mtime_ns).read_bytes()
    else:
        return None
    return None if before == (sound / name).read_bytes() else before


def test_an_older_file_in_place_of_a_newer_one_is_found_or_harmless(sound, tmp_path, tiny_encoder):
    right = {"000002": answers(sound, tiny_encoder)}
    first = shutil.copytree(sound, tmp_path / "first")
    (first / "CURRENT").write_bytes(older(sound, "CURRENT"))
    right["000001"] = answers(first, tiny_encoder)
    assert right["000001"] != right["000002"]
    replaced = {name: before for name in needed(sound) if (before := older(sound, name)) is not None}
    assert len(replaced) >= 12
    for number, (name, before) in enumerate(sorted(replaced.items())):
        index = shutil.copytree(sound, tmp_path / f"{number}")
        (index / name).unlink()
        (index / name).write_bytes(before)
        faults = verify_index(index, full=True).faults
        try:
            opened = geoindex.open_index(index, encoder=tiny_encoder)
            harmless = [each[:2] for each in points(opened, PHOTOS)] == right[opened.manifest.generation]
        except GeoindexError:
            harmless = False
        assert faults or harmless, name
        repair_index(index)
        assert verify_index(index, full=True).faults == (), name
        shutil.rmtree(index)


@pytest.mark.parametrize("table", ["images", "cells", "clusters"])
def test_one_flipped_byte_in_a_table_is_found(sound, tmp_path, table):
    index = shutil.copytree(sound, tmp_path / "index")
    newest = max((index / "tables" / f"{table}.lance" / "data").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    spoil(newest, "flipped")
    assert any(newest.name in fault for fault in verify_index(index, full=True).faults)


def test_cells_that_lance_lost_are_made_again_from_the_images(sound, truth, tmp_path, tiny_encoder):
    index = shutil.copytree(sound, tmp_path / "index")
    for path in (index / "tables" / "cells.lance" / "data").iterdir():
        spoil(path, "zeroed")
    found = repair_index(index)
    assert found.generation == "000003"
    assert "from the stored images of 000002" in found.to_text()
    np.testing.assert_allclose(answers(index, tiny_encoder), truth)


def test_an_empty_newest_manifest_of_lance_is_moved_aside(sound, tmp_path):
    index = shutil.copytree(sound, tmp_path / "index")
    spoil(min((index / "tables" / "clusters.lance" / "_versions").glob("*.manifest")), "truncated")
    found = repair_index(index)
    assert any("moved 'clusters-" in step for step in found.steps)
    assert list((index / "quarantine").rglob("*.manifest"))
    assert verify_index(index, full=True).faults == ()


def test_a_live_generation_without_a_manifest_falls_back_to_the_one_before(sound, tmp_path):
    index = shutil.copytree(sound, tmp_path / "index")
    spoil(index / "generations" / "000002" / "manifest.json", "deleted")
    assert verify_index(index).generation == ""
    found = repair_index(index)
    assert (found.generation, found.steps) == ("000001", ("went back to generation 000001",))
    assert geoindex.open_index(index).searcher.ann.n_cells == 4


def test_images_that_are_lost_are_listed_and_the_rest_is_served(sound, truth, tmp_path, tiny_encoder, run):
    index = shutil.copytree(sound, tmp_path / "index")
    for path in (index / "tables" / "images.lance" / "data").iterdir():
        spoil(path, "flipped")
    before = files_of(index)
    code, out, _ = run("repair", index)
    assert code == 3
    assert "generation 000002 answers, but not all could be mended" in out
    assert "goes on answering from its own files" in out
    assert "build again from" in out
    found = repair_index(index)
    assert set(found.lost) == stored_ids(sound)
    assert f"lost: the stored rows of {len(found.lost)} photos" in found.to_text()
    lists = list((index / "quarantine").rglob("lost.txt"))
    assert set(lists[0].read_text().splitlines()) == stored_ids(sound)
    assert set(files_of(index)) == {*before, *(path.relative_to(index).as_posix() for path in lists), ".lock"}
    assert answers(index, tiny_encoder) == truth


def test_photos_that_only_the_newest_table_held_are_listed(tmp_path):
    path = geoindex.build_index("planted:300?dim=8", out=tmp_path / "index", training={"method": "none"}).path
    add_images(path, "planted:320?dim=8")
    record = json.loads((path / "tables" / "checksums" / "images-2.json").read_text())
    older = json.loads((path / "tables" / "checksums" / "images-1.json").read_text())
    spoil(next(path / "tables" / file for file in record if file not in older and "/data/" in file), "zeroed")
    found = repair_index(path)
    assert (found.generation, found.left) == ("000001", ())
    assert sorted(found.lost) == sorted(f"planted-{number}" for number in range(300, 320))
    assert verify_index(path, full=True).faults == ()


def test_where_nothing_is_left_that_is_said(sound, tmp_path):
    index = shutil.copytree(sound, tmp_path / "index")
    for path in (index / "tables" / "images.lance" / "data").iterdir():
        spoil(path, "flipped")
    for name in ("000001", "000002"):
        spoil(index / "generations" / name / "index.faiss", "truncated")
    with pytest.raises(IndexDamagedError, match=r"cannot be repaired: .*; restore it from a copy or build the index"):
        repair_index(index)


def test_checksums_that_are_lost_come_back_from_their_copy(sound, tmp_path):
    index = shutil.copytree(sound, tmp_path / "index")
    assert verify_index(index, full=True).unrecorded == ()
    shutil.rmtree(index / "tables" / "checksums")
    assert len(verify_index(index, full=True).faults) == 3
    found = repair_index(index)
    assert "wrote the checksums of version 1 of 'images' again from generation 000001" in found.steps
    assert (found.generation, found.left) == ("000002", ())
    for file in (sound / "tables" / "checksums").iterdir():
        assert json.loads((index / "tables" / "checksums" / file.name).read_text()) == json.loads(file.read_text())


def test_tables_without_checksums_are_named(tmp_path):
    shutil.unpack_archive(DATA / "index-format-1.zip", tmp_path)
    index = tmp_path / "index"
    shutil.rmtree(index / "tables" / "checksums")
    found = verify_index(index, full=True)
    assert found.faults == ()
    assert set(found.unrecorded) == {"images", "cells", "clusters"}
    assert "no checksums of images, cells, clusters: written fast" in found.to_text()


def test_no_index(tmp_path):
    with pytest.raises(IndexNotFoundError):
        verify_index(tmp_path / "nothing")
    with pytest.raises(IndexNotFoundError):
        repair_index(tmp_path / "nothing")
