"""Many threads and processes that ask while generations come and go."""

import logging
import multiprocessing
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiles import HUBS, KEYS, OTHER_ENCODER, PHOTOS, build, error_km, points

import geoindex
from geoindex.errors import ConfigError, ForkError
from geoindex.store.generations import IndexFolder
from geoindex.store.history import collect
from geoindex.updates.rollback import roll_back

SOURCE = "planted:400?dim=16&seed=0"
PLAIN = {"training": {"method": "none"}}
spawn = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two generations of the same embeddings; nobody writes to it."""
    path = tmp_path_factory.mktemp("planted") / "index"
    geoindex.build_index(SOURCE, out=path, geocells={"n_cells": 4}, **PLAIN)
    geoindex.rebuild_index(path, geocells={"n_cells": 8})
    return path


@pytest.fixture
def folder(planted, tmp_path):
    return shutil.copytree(planted, tmp_path / "index")


@pytest.fixture(scope="module")
def queries(planted):
    vectors = geoindex.open_index(planted).searcher.sidecar.gallery.live_embeddings()[::50].astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def told(index, queries):
    """Return what one call answers: the generations that it names, and the points."""
    found = index.query_embeddings(queries)
    return frozenset(a.generation for a in found), tuple((a.lat, a.lon, a.place) for a in found)


def truth(folder, queries):
    return told(geoindex.open_index(folder), queries)


def read(index, queries, ended):
    """Ask as fast as possible until the end; return every different answer, and how many there were."""
    different, count = set(), 0
    while not ended.is_set():
        different.add(told(index, queries))
        count += 1
    return different, count


def change(folder, queries):
    """Rebuild, go back and forth, collect; return what each generation answers."""
    answers = {truth(folder, queries)}
    for cells in (5, 7):
        geoindex.rebuild_index(folder, geocells={"n_cells": cells})
        answers.add(truth(folder, queries))
        roll_back(folder)
        answers.add(truth(folder, queries))
        roll_back(folder, IndexFolder(folder).names()[-1])
        collect(folder, keep=2, grace_hours=0.0)
    return answers


def check_readers(answers, reports):
    assert len(answers) == 3
    for different, count in reports:
        assert count > 10
        assert different <= answers
        assert len(different) > 1


def test_generations_answer_differently(folder, queries):
    assert len(change(folder, queries)) == 3


def test_threads_see_one_generation_at_a_time(folder, queries):
    index, ended = geoindex.open_index(folder, follow=True), threading.Event()
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, index, queries, ended) for _ in range(3)]
        try:
            answers = change(folder, queries)
        finally:
            ended.set()
    check_readers(answers, [reader.result() for reader in readers])
    assert told(index, queries) == truth(folder, queries)


def read_apart(index, queries, ended, ready, results):
    ready.release()
    results.put(read(index, queries, ended))


def test_processes_see_one_generation_at_a_time(folder, queries):
    index, ended = geoindex.open_index(folder, follow=True), spawn.Event()
    ready, results = spawn.Semaphore(0), spawn.Queue()
    readers = [spawn.Process(target=read_apart, args=(index, queries, ended, ready, results)) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert all(ready.acquire(timeout=120) for _ in readers)
    try:
        answers = change(folder, queries)
    finally:
        ended.set()
    check_readers(answers, [results.get(timeout=60) for _ in readers])
    for reader in readers:
        reader.join(60)
        assert reader.exitcode == 0


def test_photos_never_meet_the_encoder_or_the_length_of_another_generation(index_folder, world):
    """Encoder, projection and search files of two generations differ in length; a mix would fail or be far off."""
    wide = OTHER_ENCODER.replace("embed_dim=32", "embed_dim=48")
    build(world, index_folder, encoder=wide)
    index, ended, dims = geoindex.open_index(index_folder, device="cpu", follow=True), threading.Event(), set()

    def ask():
        while not ended.is_set():
            dims.add((index.query_image(PHOTOS[0]).generation, index.snapshot.projection.dim))
            assert all(error_km(a, hub) < 500 for a, hub in zip(index.query_images(PHOTOS), HUBS.values(), strict=True))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(6):
                for name in ("000001", "000002"):
                    roll_back(index_folder, name)
                    assert index.query_image(PHOTOS[0]).generation == name
        finally:
            ended.set()
    for reader in readers:
        reader.result()
    assert {generation for generation, _ in dims} == {"000001", "000002"}


def test_one_encoder_is_loaded_for_all_threads(built, monkeypatch):
    import geoindex.encoder

    loads, load = [], geoindex.encoder.open_encoder
    monkeypatch.setattr(geoindex.encoder, "open_encoder", lambda *a, **k: (loads.append(a), load(*a, **k))[1])
    index = geoindex.open_index(built.path, device="cpu")
    with ThreadPoolExecutor(4) as pool:
        assert len({id(each) for each in pool.map(lambda _: index.encoder, range(8))}) == 1
    assert len(loads) == 1


class TestFollow:
    """`open_index(follow=True)` moves on before a query."""

    def test_the_next_query_after_a_flip_is_answered_by_the_new_generation(self, folder, queries):
        following, standing = (geoindex.open_index(folder, follow=follow) for follow in (True, False))
        for name in ("000001", "000002", "000001"):
            roll_back(folder, name)
            assert told(following, queries) == truth(folder, queries)
            assert following.manifest.generation == name
            assert standing.query_embeddings(queries)[0].generation == "000002"

    def test_a_pointer_that_is_replaced_by_the_same_costs_no_reopening(self, folder, queries):
        index = geoindex.open_index(folder, follow=True)
        before, stamp = index.snapshot, IndexFolder(folder).stamp()
        roll_back(folder, "000002")
        assert IndexFolder(folder).stamp() != stamp
        told(index, queries)
        assert index.snapshot is before

    def test_the_encoder_goes_on_if_it_built_the_new_generation_too(self, index_folder):
        index = geoindex.open_index(index_folder, device="cpu", follow=True)
        index.query_image(PHOTOS[0])
        encoder = index.encoder
        geoindex.rebuild_index(index_folder)
        assert index.query_image(PHOTOS[0]).generation == "000002"
        assert index.encoder is encoder

    @pytest.mark.parametrize("damage", ["file", "manifest", "pointer", "gone"])
    def test_what_cannot_be_opened_is_told_once_and_the_old_one_goes_on(self, folder, queries, caplog, damage):
        index = geoindex.open_index(folder, follow=True)
        before = told(index, queries)
        geoindex.rebuild_index(folder, geocells={"n_cells": 5})
        new = folder / "generations" / "000003"
        if damage == "file":
            (new / "index.faiss").write_bytes(b"")
        elif damage == "manifest":
            (new / "manifest.json").unlink()
        elif damage == "pointer":
            (folder / "CURRENT").write_bytes(b"{}")
        else:
            shutil.rmtree(folder)
        with caplog.at_level(logging.WARNING):
            assert [told(index, queries) for _ in range(3)] == [before] * 3
        assert [r.getMessage().endswith("Generation 000002 goes on answering.") for r in caplog.records] == [True]

    def test_it_moves_on_once_a_sound_generation_is_live_again(self, folder, queries):
        index = geoindex.open_index(folder, follow=True)
        geoindex.rebuild_index(folder, geocells={"n_cells": 5})
        (folder / "generations" / "000003" / "index.faiss").write_bytes(b"")
        assert index.query_embeddings(queries)[0].generation == "000002"
        roll_back(folder, "000001")
        assert index.query_embeddings(queries)[0].generation == "000001"

    def test_an_encoder_that_was_given_is_kept_with_its_generation(self, index_folder, world, tiny_encoder, caplog):
        index = geoindex.open_index(index_folder, encoder=tiny_encoder, follow=True)
        before = points(index, PHOTOS)
        geoindex.build_index(world, out=index_folder, **KEYS | {"encoder": OTHER_ENCODER})
        assert points(index, PHOTOS) == before
        assert "is not the one that built" in caplog.text


def test_a_generation_that_is_collected_while_it_is_opened_gives_way_to_the_next(folder, queries, monkeypatch):
    """The reader has read CURRENT when a collection without grace takes that generation away."""
    current, calls = IndexFolder.current, []

    def slow(self):
        found = current(self)
        calls.append(found.manifest.generation)
        if len(calls) == 1:
            roll_back(folder, "000001")
            shutil.rmtree(folder / "generations" / "000002")
        return found

    monkeypatch.setattr("geoindex.snapshot.IndexFolder.current", slow)
    index = geoindex.open_index(folder)
    assert calls[0] == "000002"
    assert index.manifest.generation == "000001"


class TestOtherProcesses:
    """An open index travels to a spawned process and is refused in a forked one."""

    def test_a_pickled_index_opens_what_is_live(self, folder, queries, monkeypatch):
        monkeypatch.chdir(folder.parent)
        index = geoindex.open_index("index", follow=True)
        travelled = pickle.dumps(index)
        roll_back(folder)
        monkeypatch.chdir("/")
        copy = pickle.loads(travelled)
        assert told(copy, queries) == truth(folder, queries)
        assert copy.manifest.generation == "000001"
        roll_back(folder, "000002")
        assert copy.query_embeddings(queries)[0].generation == "000002"

    def test_an_encoder_that_was_given_does_not_travel(self, index):
        with pytest.raises(ConfigError, match=r"cannot travel to another process; open the index there\.$"):
            pickle.dumps(index)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    @pytest.mark.filterwarnings("ignore")  # Python and Lance warn of the fork itself
    def test_a_forked_process_is_refused_at_once(self, built, planted, queries, tmp_path):
        images, vectors = geoindex.open_index(built.path, device="cpu"), geoindex.open_index(planted, follow=True)
        images.query_image(PHOTOS[0])
        works = (
            lambda: images.query_image(PHOTOS[0]),
            lambda: next(images.query_images(PHOTOS)),
            lambda: images.encoder,
            lambda: geoindex.open_index(built.path).query_image(PHOTOS[0]),
            lambda: vectors.query_embeddings(queries),
            lambda: vectors.reload(),
        )
        child = os.fork()
        if child == 0:
            said = []
            for work in works:
                try:
                    work()
                    said.append("nothing")
                except ForkError as error:
                    said.append(str(error))
            (tmp_path / "said").write_text("\n".join(said))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        said = (tmp_path / "said").read_text().splitlines()
        assert len(said) == len(works)
        assert all("forked" in line and "the method 'spawn'" in line for line in said)
        assert vectors.query_embeddings(queries)
