"""Indexes in folders of any name."""

import shutil

import pytest
from tiles import HUBS, KEYS, PHOTOS, error_km, write_world

import geoindex
from geoindex.errors import StorageError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.history import collect, list_generations
from geoindex.updates.rollback import roll_back

NAMES = [
    "with  spaces",
    "ünï/東京 🌍",
    "a%20b#c?d=e&f",
    "[x]*{y}",
    "-x",
    "'q\" $HOME;`ls`",
    "s3:x",
    ".hidden",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_index_lives_in_any_folder(tmp_path, name):
    path = tmp_path / name
    geoindex.build_index("planted:120?dim=8", out=path, training={"method": "none"}, geocells={"n_cells": 3})
    geoindex.rebuild_index(path)
    roll_back(path)
    (path / "generations" / "000001" / "index.faiss").unlink()
    assert repair_index(path).generation == "000003"
    collect(path, keep=1, grace_hours=0.0)
    assert [each.name for each in list_generations(path).generations] == ["000003"]
    assert verify_index(path, full=True).faults == ()


def test_photos_and_index_in_such_folders(world, tmp_path, run):
    from tiles import world_rows

    folder = tmp_path / "mit Leerzeichen" / "ünï 東京 #1"
    rows = [(f"фото {row[0]}", *row[1:]) for row in world_rows()]
    path = geoindex.build_index(write_world(folder, rows), out=folder / "i n d é x", **KEYS).path
    index = geoindex.open_index(path, device="cpu")
    assert error_km(index.query_image(PHOTOS[0]), HUBS["nl"]) < 500
    assert index.query_image(PHOTOS[0]).evidence[0].image.startswith("фото nl-")
    moved = shutil.move(path, tmp_path / "다른 곳")
    assert run("query", folder / "фото jp-00.jpg", "--index", moved)[0] == 0


@pytest.mark.parametrize("name", ["two\nlines", "tab\tbell\a"])
def test_a_name_that_lance_does_not_take_is_one_sentence(tmp_path, name):
    with pytest.raises(StorageError, match=r"^Lance takes no folder of the name .*; choose another with --out\.$"):
        geoindex.build_index("planted:120?dim=8", out=tmp_path / name, training={"method": "none"})
