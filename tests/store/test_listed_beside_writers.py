"""Generations that go while they are listed."""

import shutil

import pytest
from tiles import KEYS, world_rows, write_world

import geoindex
from geoindex.store import history
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect, folder_bytes, list_generations


@pytest.fixture
def index(tmp_path):
    table = write_world(tmp_path / "world", world_rows(per_hub=6))
    path = geoindex.build_index(table, out=tmp_path / "index", **KEYS, split_by="none", geocells={"n_cells": 3}).path
    geoindex.rebuild_index(path)
    return path


@pytest.mark.parametrize("place", ["folder_bytes", "check_parts"])
@pytest.mark.parametrize("look", [1, 2])
def test_a_collection_in_the_middle_of_a_list(index, monkeypatch, place, look):
    calls, inner = [], getattr(history, place)

    def beside(*arguments):
        calls.append(arguments)
        if len(calls) == look:
            monkeypatch.setattr(history, place, inner)
            collect(index, keep=1, grace_hours=0.0)
        return inner(*arguments)

    monkeypatch.setattr(history, place, beside)
    found = list_generations(index).generations
    assert [(each.name, each.live, each.damage) for each in found] == [("000002", True, "")]


def test_a_writer_that_never_rests(index, monkeypatch):
    names = iter([["000001", "000002"], ["000002"]] * 99)
    monkeypatch.setattr(IndexFolder, "names", lambda self: next(names))
    shutil.rmtree(index / "generations" / "000001")
    assert "000002" in [each.name for each in list_generations(index).generations]


def test_files_that_go_while_they_are_counted(index, monkeypatch):
    size, walk = folder_bytes(index), history.os.walk
    removed = sorted((index / "generations" / "000001").iterdir())[0]
    count = removed.stat().st_size if removed.stat().st_nlink == 1 else 0

    def walked(folder):
        for found in list(walk(folder)):
            removed.unlink(missing_ok=True)
            yield found

    monkeypatch.setattr(history.os, "walk", walked)
    assert folder_bytes(index) == size - count
