"""Copies in the cache: whole or not there, shared, kept while somebody has them open."""

import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiles import PHOTOS, points

import geoindex
from geoindex.errors import IndexDamagedError, UnreachableError
from geoindex.inspection import inspect_index
from geoindex.integrity import verify_index
from geoindex.remote import fetching
from geoindex.remote.cache import open_copy
from geoindex.remote.fetching import refetch
from geoindex.store import objects as layer
from geoindex.store.address import cache_of
from geoindex.transfer import clone_index


def copies(url):
    return sorted(path.name[:6] for path in cache_of(url).iterdir() if path.is_dir() and path.name[0] == "0")


def next_generation(index_folder, url):
    """Publish another generation of the same images."""
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    clone_index(index_folder, url)


def test_offline_the_cache_answers_and_says_so(published, tiny_encoder, monkeypatch, caplog, service):
    before = points(geoindex.open_index(published, encoder=tiny_encoder), PHOTOS)
    monkeypatch.setattr(layer, "RETRIES", 0)
    service.busy_every = 1
    with caplog.at_level(logging.WARNING):
        opened = geoindex.open_index(published, encoder=tiny_encoder)
    assert points(opened, PHOTOS) == before
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"'{published}' does not answer (503 Service")
    assert "Generation 000001 answers from the cache" in message
    shutil.rmtree(cache_of(published))
    with pytest.raises(UnreachableError):
        geoindex.open_index(published)


def test_what_a_copy_has_already_is_shared(published, index_folder, service):
    old = geoindex.open_index(published).path
    next_generation(index_folder, published)
    service.forget()
    new = geoindex.open_index(published).path
    shared = [path for path in new.rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert any("images.lance" in str(path) for path in shared)
    assert any(path.suffix == ".safetensors" and "encoder" in str(path) for path in shared)
    for path in (old, new):
        assert verify_index(path, full=True).faults == ()
    assert len([1 for _, path in service.log if "/objects/" in path]) < len([p for p in new.rglob("*") if p.is_file()])


def test_a_damaged_file_is_fetched_instead_of_shared(published, index_folder):
    old = geoindex.open_index(published).path
    for path in old.rglob("*.lance"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    next_generation(index_folder, published)
    assert verify_index(geoindex.open_index(published).path, full=True).faults == ()


def replace_by(path, data):
    """Put another file in the place of one, which others may have mapped."""
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [lambda path: replace_by(path, b"x"), lambda path: path.unlink()])
def test_damaged_files_of_a_copy_are_fetched_again(published, tiny_encoder, service, caplog, damage):
    before = points(geoindex.open_index(published, encoder=tiny_encoder), PHOTOS)
    reader = geoindex.open_index(published)
    (hurt,) = reader.path.rglob("clusters.arrow")
    damage(hurt)
    service.forget()
    with caplog.at_level(logging.WARNING):
        opened = geoindex.open_index(published, encoder=tiny_encoder)
    assert points(opened, PHOTOS) == before
    assert verify_index(opened.path, full=True).faults == ()
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"The copy of '{published}' was mended: ")
    assert len({path for _, path in service.log if "/objects/" in path}) == 1
    assert reader.query_image(PHOTOS[0]).generation == "000001"  # from the same folder, whose encoder it had not loaded
    assert sorted(path.name for path in cache_of(published).iterdir() if path.is_dir()) == [opened.path.name, "leases"]


def test_a_copy_is_mended_for_whoever_reads_it(published, service, monkeypatch):
    (hurt,) = geoindex.open_index(published).path.rglob("clusters.arrow")
    hurt.unlink()
    assert inspect_index(published).manifest.generation == "000001"
    replace_by(hurt, b"")

    def mended_by_others(*args):
        assert refetch(*args)
        return False

    with monkeypatch.context() as patch:
        patch.setattr("geoindex.remote.cache.refetch", mended_by_others)
        geoindex.open_index(published)
    hurt.unlink()
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: geoindex.open_index(published).path, range(4)))) == 1


def test_what_was_published_damaged_is_an_error_and_nothing_is_fetched_again(published, service, monkeypatch):
    geoindex.open_index(published)

    def refuse(*args, **kwargs):
        raise IndexDamagedError("It is damaged.")

    service.forget()
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.live.open_snapshot", refuse)
        with pytest.raises(IndexDamagedError, match="It is damaged"):
            geoindex.open_index(published)
    assert not [path for _, path in service.log if "/objects/" in path]
    geoindex.open_index(published)


def test_offline_a_damaged_copy_stays_for_those_who_have_it_open(published, monkeypatch, service):
    reader = geoindex.open_index(published)
    (hurt,) = reader.path.rglob("clusters.arrow")
    hurt.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(layer, "RETRIES", 0)
        service.busy_every = 1
        with pytest.raises(UnreachableError):
            geoindex.open_index(published)
    assert reader.query_image(PHOTOS[0]).generation == "000001"
    service.busy_every = 0
    assert verify_index(geoindex.open_index(published).path, full=True).faults == ()


def test_moving_on_mends_the_copy_and_keeps_the_old_one_until_then(published, index_folder, service, monkeypatch):
    index = geoindex.open_index(published)
    index.query_image(PHOTOS[0])
    encoder, old = index.encoder, index.path
    next_generation(index_folder, published)
    (hurt,) = geoindex.open_index(published).path.rglob("clusters.arrow")
    replace_by(hurt, b"x")
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.remote.cache.refetch", lambda *args: False)
        for _ in range(2):
            with pytest.raises(IndexDamagedError):
                index.reload()
        assert (index.path, index.query_image(PHOTOS[0]).generation) == (old, "000001")
    assert index.reload()
    assert index.query_image(PHOTOS[0]).generation == "000002"
    assert index.encoder is encoder
    assert not index.reload()


def test_looking_for_a_newer_one_leaves_nothing_behind(published, service):
    index = geoindex.open_index(published)
    leases = sorted(cache_of(published).rglob("leases/*/*"))
    service.forget()
    assert [index.reload() for _ in range(5)] == [False] * 5
    assert sorted(cache_of(published).rglob("leases/*/*")) == leases
    assert len(service.log) == 5
    del index
    geoindex.open_index(published)
    assert len(sorted(cache_of(published).rglob("leases/*/*"))) == 1


def test_the_copy_before_stays_and_older_ones_go(published, index_folder):
    geoindex.open_index(published)
    for names in (["000001", "000002"], ["000002", "000003"], ["000003", "000004"]):
        next_generation(index_folder, published)
        geoindex.open_index(published)
        assert copies(published) == names


READER = """
import sys, geoindex
index = geoindex.open_index(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


def test_a_copy_that_another_process_has_open_stays(published, index_folder):
    code = str(Path(geoindex.__file__).parents[1])
    command = [sys.executable, "-c", READER, published]
    with subprocess.Popen(command, cwd=code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "open\n"
        held = geoindex.open_index(published)  # and this one too
        for _ in range(3):
            next_generation(index_folder, published)
            geoindex.open_index(published)
        assert copies(published) == ["000001", "000003", "000004"]
        reader.communicate("\n")
    geoindex.open_index(published)
    assert copies(published) == ["000001", "000003", "000004"]
    del held
    geoindex.open_index(published)
    assert copies(published) == ["000003", "000004"]


def test_a_fetch_goes_on_where_it_stopped(published, service, monkeypatch):
    receive, done = fetching._receive, []

    def some(*arguments):
        if len(done) > 5:
            raise KeyboardInterrupt
        receive(*arguments)
        done.append(arguments[1])

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_receive", some)
        with pytest.raises(KeyboardInterrupt):
            geoindex.open_index(published)
    assert copies(published) == []
    service.forget()
    path = geoindex.open_index(published).path
    asked = {path.rpartition("/")[2] for _, path in service.log}
    assert not asked & {name.rpartition("/")[2] for name in done}
    assert verify_index(path, full=True).faults == ()
    assert not (cache_of(published) / "fetched").exists()


def test_many_readers_at_once_fetch_once(published, service):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(open_copy, [published] * 6))
    assert len({copy.folder for copy in found}) == 1
    objects = [path for _, path in service.log if "/objects/" in path]
    assert len(objects) == len(set(objects))
