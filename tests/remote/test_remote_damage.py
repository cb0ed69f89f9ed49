"""What is not what was published is found, named, and never answers."""

import json

import obstore
import pytest
from tiles import KEYS

import geoindex
from geoindex.errors import IndexDamagedError, IndexVersionError
from geoindex.integrity import verify_index
from geoindex.remote.index import RemoteIndex
from geoindex.transfer import clone_index


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def content(bucket, name):
    return bytes(obstore.get(bucket, name).bytes())


def objects_of(objects):
    return sorted(name for name in objects() if "/objects/" in name)


def test_every_flipped_object_is_found(published, bucket, objects, tmp_path, built):
    for name in objects_of(objects):
        before = content(bucket, name)
        bucket.put(name, flipped(before))
        assert verify_index(published).faults == ()
        faults = verify_index(published, full=True).faults
        assert len(faults) == 1
        assert f"'s3://{bucket.config['bucket']}/{name}' does not have its checksum; it held '" in faults[0]
        bucket.put(name, before)
    assert verify_index(published, full=True).faults == ()


def test_a_flipped_object_is_not_fetched(published, bucket, objects, tmp_path, built, run):
    name = objects_of(objects)[3]
    before = content(bucket, name)
    bucket.put(name, flipped(before))
    for open_it in (geoindex.open_index, lambda url: clone_index(url, tmp_path / "index")):
        with pytest.raises(
            IndexDamagedError, match=rf"{name}' is not what was written; delete it, and publish"
        ) as caught:
            open_it(published)
        assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "index").exists()
    code, out, _ = run("verify", published, "--full")
    assert (code, f"delete what is damaged and publish it again with 'geoindex clone FOLDER {published}'" in out) == (
        1,
        True,
    )
    # the cure
    bucket.delete(name)
    clone_index(built.path, published)
    assert run("verify", published, "--full")[0] == 0
    assert geoindex.open_index(published).manifest.generation == "000001"


def test_objects_that_are_gone_or_cut_off(published, bucket, objects, built):
    first, second = objects_of(objects)[:2]
    bucket.delete(first)
    bucket.put(second, content(bucket, second) + b"x")
    for full in (False, True):
        found = verify_index(published, full=full)
        assert [("is gone" in f, "bytes, '" in f) for f in found.faults] == [(True, False), (False, True)]
        assert "damaged" in found.to_text()
    with pytest.raises(IndexDamagedError, match=f"{first}' is not what was written"):
        geoindex.open_index(published)
    clone_index(built.path, published)
    assert verify_index(published, full=True).faults == ()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b'{"generation": "../x", "sha256": "a"}', b"[" * 10**5])
def test_a_damaged_current(published, bucket, objects, data):
    name = next(name for name in objects() if name.endswith("CURRENT"))
    bucket.put(name, data)
    found = verify_index(published)
    assert (found.generation, len(found.faults)) == ("", 1)
    with pytest.raises(IndexDamagedError, match="CURRENT' is not what was written; delete it, and publish"):
        geoindex.open_index(published)


def test_a_damaged_list(published, bucket, objects, built):
    name = next(name for name in objects() if "/generations/" in name)
    before = content(bucket, name)
    for data in (flipped(before), before + b" ", b"", b"[]"):
        bucket.put(name, data)
        assert len(verify_index(published).faults) == 1
        with pytest.raises(IndexDamagedError, match=f"{name}' is not what was written"):
            geoindex.open_index(published)
    bucket.delete(name)
    assert "is gone" in verify_index(published).faults[0]
    with pytest.raises(IndexDamagedError, match="is gone; publish the index again"):
        geoindex.open_index(published)
    clone_index(built.path, published)
    assert verify_index(published, full=True).faults == ()


def replaced_list(published, change):
    """Put another list, with a CURRENT that vouches for it."""
    from geoindex.store.listing import label_of
    from geoindex.store.pointer import pointer_to

    remote = RemoteIndex(published)
    listing = remote.listing(remote.live().pointer)
    values = json.loads(listing.to_json())
    change(values)
    data = json.dumps(values).encode()
    pointer = pointer_to(values["generation"], data)
    remote.objects.write(f"generations/{label_of(pointer)}.json", data)
    remote.objects.write("CURRENT", json.dumps(pointer).encode())


def test_a_list_of_a_later_format(published):
    replaced_list(published, lambda values: values.update(format=2))
    with pytest.raises(IndexVersionError, match="has format 2, this geoindex reads format 1"):
        geoindex.open_index(published)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "tables/../../evil", "CURRENT"])
def test_a_list_that_leads_out_of_the_folder(published, name, tmp_path):
    replaced_list(published, lambda values: values["files"][0].update(name=name))
    with pytest.raises(IndexDamagedError, match="is not what was written"):
        geoindex.open_index(published)
    assert not list(tmp_path.rglob("evil"))


def test_a_list_without_a_file_that_is_needed(published):
    replaced_list(published, lambda values: values["files"].pop(0))
    with pytest.raises(IndexDamagedError, match=r"000001-\w+\.json' is not what was written"):
        geoindex.open_index(published)


def test_a_damaged_folder_is_not_built_on(world, url, tmp_path, objects):
    """What lies in the cache is replaced by what was published."""
    from geoindex.remote.staging import staging

    geoindex.build_index(world, out=url, **KEYS)
    with staging(url) as stage:
        path = stage.folder / "generations" / "000001" / "manifest.json"
        path.write_bytes(flipped(path.read_bytes()))
    assert geoindex.build_index(world, out=url, **KEYS).generation == "000002"
    assert verify_index(url, full=True).faults == ()
