"""What `import` refuses: every archive that differs from what was exported, by one bit or by its whole kind."""

import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from tiles import KEYS, world_rows, write_world

import geoindex
from geoindex.errors import IndexDamagedError, IndexVersionError, StoreError
from geoindex.store import archive
from geoindex.store.archive import LIST_NAME, Contents
from geoindex.store.copying import Part
from geoindex.store.durable import FileRecord
from geoindex.transfer import export_index, import_index


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bytes of a sound archive."""
    folder = tmp_path_factory.mktemp("exported")
    table = write_world(folder / "world", world_rows(per_hub=2))
    path = geoindex.build_index(table, out=folder / "index", **KEYS, geocells={"n_cells": 4}).path
    export_index(path, folder / "index.tar")
    return (folder / "index.tar").read_bytes()


@pytest.fixture
def refusal(tmp_path):
    """Import bytes; return the one sentence that refuses them, when nothing was left behind."""

    def refusal(data):
        (tmp_path / "bad.tar").write_bytes(data)
        with pytest.raises(StoreError) as caught:
            import_index(tmp_path / "bad.tar", tmp_path / "index")
        assert [p.name for p in tmp_path.iterdir()] == ["bad.tar"]
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"'{tmp_path / 'bad.tar'}' ")
        return str(caught.value)

    return refusal


def members(data):
    """Return the files of an archive by name, in order."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}


def packed(files, **changes):
    """Return an archive of files as `export` would write it, with a list that fits them or is given."""
    files = dict(files)
    listed = json.loads(files.pop(LIST_NAME))
    parts = tuple(Part(n, FileRecord(len(d), hashlib.sha256(d).hexdigest())) for n, d in files.items())
    facts = {"generation": listed["generation"], "counts": listed["counts"], "members": parts} | changes
    text = Contents(**facts).to_json()
    data = archive._header(LIST_NAME, len(text)) + text + archive._padding(len(text))
    for name, content in files.items():
        data += archive._header(name, len(content)) + content + archive._padding(len(content))
    return data + archive.END


def test_any_program_can_read_an_archive(exported):
    files = members(exported)
    listed = json.loads(files.pop(LIST_NAME))
    assert (listed["format"], listed["generation"], listed["geoindex"]) == (1, "000001", geoindex.__version__)
    assert listed["counts"]["images"] == 16
    assert [m["name"] for m in listed["members"]] == list(files)
    for member in listed["members"]:
        data = files[member["name"]]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (member["bytes"], member["sha256"])
    assert packed(members(exported)) == exported


def moments(data, count, seed):
    """Return places in an archive: every header, padding, the list and the end, and some drawn at random."""
    places, offset = set(np.random.default_rng(seed).integers(0, len(data), count).tolist()), 0
    for content in members(data).values():
        end = offset + 512 + len(content)
        offset = end + -end % 512
        places |= {offset - 1, end - 1, end - len(content), end - len(content) - 512, end - len(content) - 360}
    return sorted(places | {len(data) - 1, len(data) - 1024, 700, 1000})


def flipped(data, place, bit):
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def check_flips(exported, refusal, count, seed):
    rng = np.random.default_rng(seed)
    for place in moments(exported, count, seed):
        refusal(flipped(exported, place, int(rng.integers(8))))


def test_one_flipped_bit_anywhere(exported, refusal):
    check_flips(exported, refusal, 40, 0)


@pytest.mark.slow
def test_one_flipped_bit_at_many_places(exported, refusal):
    check_flips(exported, refusal, 3000, 1)


def test_cut_off_anywhere(exported, refusal):
    for place in moments(exported, 20, 2):
        said = refusal(exported[:place])
        assert "is cut off at " in said or (place < 512 and "not an archive of an index" in said)


def test_more_than_there_should_be(exported, refusal):
    assert "goes on after its end" in refusal(exported + b"\0")
    assert "goes on after its end" in refusal(exported + exported)


def test_other_kinds_of_files(exported, refusal, tmp_path):
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr(LIST_NAME, members(exported)[LIST_NAME])
    for data in (b"", b"x", bytes(10_000), b"PK" * 5000, zipped.getvalue(), exported[512:]):
        assert "is not an archive of an index" in refusal(data)


def test_an_archive_that_another_program_packed(exported, refusal):
    packed_anew = io.BytesIO()
    with tarfile.open(fileobj=packed_anew, mode="w") as tar:
        for name, data in members(exported).items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1
            tar.addfile(member, io.BytesIO(data))
    assert "is not an archive of an index" in refusal(packed_anew.getvalue())


def test_a_member_too_few(exported, refusal):
    files = members(exported)
    needed = [n for n in files if n.startswith(("generations", "tables")) and "checksums" not in n]
    for name in needed:
        if not name.endswith("manifest.sha256"):  # generations of older versions have none
            said = refusal(packed({n: d for n, d in files.items() if n != name}))
            assert "exactly the files" in said or "is not an archive of an index" in said
    assert len(needed) >= 14


def test_a_member_too_many(exported, refusal):
    files = members(exported) | {"tables/more.lance": b"x"}
    assert "does not hold exactly the files" in refusal(packed(files))


def test_a_member_that_is_another(exported, refusal):
    files = members(exported)
    name = next(name for name in files if name.endswith("gallery.npy"))
    assert "does not hold exactly the files" in refusal(packed(files | {name: files[name] + b"x"}))
    manifest = next(name for name in files if name.endswith("manifest.json"))
    assert "is not an archive" in refusal(packed(files | {manifest: b"{}"}))


def test_members_in_another_order_than_listed(exported, refusal):
    files = members(exported)
    text = files.pop(LIST_NAME)
    swapped = packed({LIST_NAME: text, **dict(reversed(files.items()))})
    head = len(exported) - len(exported[512 + len(text) + -len(text) % 512 :])
    assert "is not what was written, at " in refusal(exported[:head] + swapped[head:])


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", "tables/../../evil", "CURRENT", "export.json", "tables//x", "tables\\x", "c:x", ".lock",
     "tables/.hidden", "tables", "generations/ü", "encoder/x\n", ""],
)  # fmt: skip
def test_names_that_lead_elsewhere(exported, refusal, tmp_path, name):
    assert "has members that no index has; do not trust it." in refusal(packed(members(exported) | {name: b"x"}))
    assert not (tmp_path.parent / "evil").exists()


def test_the_same_member_twice(exported, refusal):
    files = members(exported)
    twice = [*((n, d) for n, d in files.items() if n != LIST_NAME)] * 2
    parts = tuple(Part(n, FileRecord(len(d), hashlib.sha256(d).hexdigest())) for n, d in twice)
    data = packed(files, members=parts)
    assert "is not what was written" in refusal(data)


def test_a_link_in_place_of_a_file(exported, refusal):
    files = members(exported)
    name = list(files)[1]
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    start = exported.index(archive._header(name, len(files[name])))
    assert "is not what was written, at " in refusal(
        exported[:start] + link.tobuf(tarfile.GNU_FORMAT) + exported[start + 512 :]
    )


@pytest.mark.parametrize(
    "changes",
    [{"generation": "000009"}, {"generation": "../000001"}, {"generation": 1}, {"generation": None}],
)
def test_a_generation_that_is_not_there(exported, refusal, changes):
    assert "is not an archive of an index" in refusal(packed(members(exported), **changes))


def test_lists_that_are_none(exported, refusal):
    files = members(exported)
    listed = json.loads(files[LIST_NAME])
    for text in (b"", b"[]", b"{}", b"[" * 100_000, json.dumps(listed | {"members": [1]}).encode()):
        data = archive._header(LIST_NAME, len(text)) + text + archive._padding(len(text))
        assert "is not what was written, at EXPORT.json" in refusal(data + archive.END)


def test_an_archive_of_tomorrow(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", 2)
    (tmp_path / "new.tar").write_bytes(packed(members(exported)))
    monkeypatch.undo()
    with pytest.raises(IndexVersionError, match="has format 2, this geoindex reads format 1"):
        import_index(tmp_path / "new.tar", tmp_path / "index")


def test_an_index_of_tomorrow_in_an_archive_of_today(exported, tmp_path):
    files = members(exported)
    manifest = next(name for name in files if name.endswith("manifest.json"))
    files[manifest] = files[manifest].replace(b'"format_version": 2', b'"format_version": 3')
    files[manifest.replace("json", "sha256")] = hashlib.sha256(files[manifest]).hexdigest().encode()
    (tmp_path / "new.tar").write_bytes(packed(files))
    with pytest.raises(IndexVersionError, match="has format 3"):
        import_index(tmp_path / "new.tar", tmp_path / "index")


def test_a_changed_source_is_refused_while_it_is_read(tmp_path):
    part = Part("a", FileRecord(3, hashlib.sha256(b"abc").hexdigest()))
    for data in (b"ab", b"abd", b"abcd", b""):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(IndexDamagedError, match="does not have its checksum"), io.BytesIO() as sink:
            part.copy(tmp_path, sink, archive.bar_of((part,), "copying"))
