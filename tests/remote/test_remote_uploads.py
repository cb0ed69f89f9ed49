"""What is sent: once, in parts where it is large, again where it was stopped, and only if it is what was written."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import sleep

import numpy as np
import pytest
from tiles import KEYS, PHOTOS, points

import geoindex
from geoindex.errors import IndexDamagedError, IndexNotFoundError
from geoindex.integrity import verify_index
from geoindex.remote import publishing
from geoindex.store import objects as layer
from geoindex.store.generations import IndexFolder
from geoindex.store.objects import ObjectFolder
from geoindex.transfer import clone_index

CODE = Path(geoindex.__file__).parents[1]


def puts(service):
    return [path for method, path in service.log if method == "PUT"]


def test_nothing_is_sent_twice(published, built, index_folder, service):
    clone_index(built.path, published)
    assert [path.rpartition("/")[2][:7] for path in puts(service)] == ["000001-", "CURRENT"]
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    service.forget()
    clone_index(index_folder, published)
    # neither the images nor the encoder, which both generations stand on
    names = {part.record.sha256 for part in publishing.Listing.of(*live(built.path)).parts if "encoder/" in part.name}
    assert names
    assert not any(path.rpartition("/")[2] in names for path in puts(service))


def live(path):
    index = IndexFolder(path)
    return index, index.current()


def test_an_upload_goes_on_where_it_stopped(built, url, objects, service, monkeypatch):
    sent, pieces = [], publishing._pieces

    def some(part, root, meter):
        sent.append(part.name)
        if len(sent) > 5:
            raise KeyboardInterrupt
        return pieces(part, root, meter)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_pieces", some)
        with pytest.raises(KeyboardInterrupt):
            clone_index(built.path, url)
    there = set(objects())
    assert 0 < len(there) <= 5
    assert not any("CURRENT" in name or "generations" in name for name in there)
    with pytest.raises(IndexNotFoundError, match=f"^No index at '{url}'; build one with "):
        geoindex.open_index(url)
    service.forget()
    clone_index(built.path, url)
    assert not {path.rpartition("/")[2] for path in puts(service)} & {name.rpartition("/")[2] for name in there}
    assert verify_index(url, full=True).faults == ()


def test_an_object_that_was_cut_off_is_sent_again(published, built, bucket, objects):
    name = next(name for name in objects() if "/objects/" in name)
    bucket.put(name, b"cut")
    clone_index(built.path, published)
    assert verify_index(published, full=True).faults == ()


def test_large_files_are_sent_in_parts(index_folder, url, bucket, objects, service):
    data = np.random.default_rng(0).bytes(20 * 2**20 + 17)
    (next((index_folder / "encoder").iterdir()) / "large.bin").write_bytes(data)
    clone_index(index_folder, url)
    large = [name for name, size in objects().items() if size == len(data)]
    assert len(large) == 1
    assert bucket.head(large[0])["e_tag"].strip('"').endswith("-3")
    service.forget()
    copy = geoindex.open_index(url).path
    assert next(copy.glob("encoder/*/large.bin")).read_bytes() == data
    assert len([path for _, path in service.log if path.endswith(large[0])]) == 3


def test_more_parts_than_a_service_takes_become_larger_ones(url, objects, bucket, monkeypatch):
    monkeypatch.setattr(layer, "MAX_PARTS", 2)
    size = 2 * layer.PART_BYTES + 5
    ObjectFolder(url).write_pieces("large", iter([bytes(2**20)] * 16 + [bytes(5)]), size)
    assert list(objects().values()) == [size]
    assert bucket.head(next(iter(objects())))["e_tag"].strip('"').endswith("-2")


@pytest.mark.parametrize("size", [2**20, 20 * 2**20])
def test_what_is_not_what_was_written_is_not_sent(index_folder, url, objects, size):
    """The file is damaged between its measuring and its sending."""
    path = next((index_folder / "encoder").iterdir()) / "large.bin"
    path.write_bytes(bytes(size))
    pieces = publishing._pieces

    def damaged(part, root, meter):
        if part.name.endswith("large.bin"):
            path.write_bytes(b"x" + bytes(size - 1))
        return pieces(part, root, meter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "_pieces", damaged)
        with pytest.raises(IndexDamagedError, match=r"large\.bin' does not have its checksum"):
            clone_index(index_folder, url)
    assert size not in objects().values()
    assert not any("CURRENT" in name for name in objects())


@pytest.mark.parametrize("every", [10, 3])
def test_a_busy_service(world, url, service, tiny_encoder, monkeypatch, tmp_path, every):
    service.busy_every = every
    geoindex.build_index(world, out=url, **KEYS)
    monkeypatch.setenv("GEOINDEX_CACHE", str(tmp_path / "elsewhere"))
    answers = points(geoindex.open_index(url, encoder=tiny_encoder), PHOTOS)
    assert verify_index(url, full=True).faults == ()
    assert sum(service.requests.values()) > 60
    service.busy_every = 0
    assert answers == points(geoindex.open_index(url, encoder=tiny_encoder), PHOTOS)


BUILD = """
import sys
from tiles import KEYS
import geoindex
print(geoindex.build_index(sys.argv[1], out=sys.argv[2], **KEYS).generation)
"""


def command(*arguments):
    path = os.pathsep.join([str(CODE), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {"args": [sys.executable, *map(str, arguments)], "env": environment, "text": True}


@pytest.mark.slow
def test_a_killed_build_goes_on(world, url, service, objects, tmp_path):
    """Two processes are killed while they send; the third sends what is left, and a fourth answers."""
    for _ in range(2):
        seen, reached = [], threading.Event()

        def slowly(method, path, seen=seen, reached=reached, wanted=5):
            if method == "PUT":
                seen.append(path)
                if len(seen) >= wanted:
                    reached.set()
                sleep(0.2)

        service.on_request = slowly
        with subprocess.Popen(**command("-c", BUILD, world, url)) as child:
            assert reached.wait(60)
            child.send_signal(signal.SIGKILL)
        service.on_request = None
        assert not any("CURRENT" in name for name in objects())
    there = {name.rpartition("/")[2] for name in objects()}
    assert there
    service.forget()
    done = subprocess.run(**command("-c", BUILD, world, url), capture_output=True, check=True)
    assert done.stdout == "000001\n"  # what the first one built
    assert not there & {path.rpartition("/")[2] for path in puts(service)}
    elsewhere = command("-m", "geoindex", "verify", url, "--full")
    elsewhere["env"]["GEOINDEX_CACHE"] = str(tmp_path / "elsewhere")
    found = subprocess.run(**elsewhere, capture_output=True, check=True)
    assert found.stdout == f"{url}: generation 000001 is sound (every byte read)\n"
    asked = command("-m", "geoindex", "query", next(world.parent.glob("*.jpg")), "--index", url, "--backend", "torch")
    asked["env"]["GEOINDEX_CACHE"] = str(tmp_path / "elsewhere")
    assert subprocess.run(**asked, capture_output=True, check=True).stdout
