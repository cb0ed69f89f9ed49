"""Tar archives that are cut off or damaged inside: what is lost is said."""

import io
import json
import tarfile

import pytest
from tiles import tile

from geoindex.sources.mp16 import Mp16
from geoindex.sources.osv5m_shards import Osv5mShards
from geoindex.sources.tars import BROKEN_OFF, CUT_OFF, NO_NAME, TarDirectory

NAMES = [f"{number:04}" for number in range(12)]


def write(path, names, mode="w", form=tarfile.PAX_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = io.BytesIO()
    tile(1, 2).save(image, "JPEG")
    with tarfile.open(path, mode, format=form) as archive:
        for name in names:
            facts = json.dumps({"latitude": 1, "longitude": 2}).encode()
            for suffix, data in ((".jpg", image.getvalue()), (".json", facts)):
                info = tarfile.TarInfo(name + suffix)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "train" / "0000.tar", NAMES)


def scan(path):
    found = Osv5mShards(path.parent.parent).scan()
    return found.samples.ids, found.left_out.examples, found.left_out.harmless


def header_of(path, member):
    with tarfile.open(path) as archive:
        return archive.getmember(member).offset


def test_a_damaged_header_and_what_follows_it_is_said(path):
    data, offset = path.read_bytes(), header_of(path, "0005.jpg")
    for hole in (b"0005.jpx", bytes(1024)):
        path.write_bytes(data[:offset] + hole + data[offset + len(hole) :])
        assert scan(path) == (NAMES[:5], {BROKEN_OFF: ["0000.tar"]}, set())


def test_an_archive_that_is_cut_off_is_said_wherever_it_ends(path):
    data, offset = path.read_bytes(), header_of(path, "0005.jpg")
    for end in (offset, offset + 100, offset + 512, offset + 700):
        path.write_bytes(data[:end])
        assert scan(path) == (NAMES[:5], {CUT_OFF: ["0000.tar"]}, set())


def test_the_middle_of_a_long_name_is_an_end_too(path):
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        write(path, ["a", "b" * 200], form=form)
        data, offset = path.read_bytes(), header_of(path, "b" * 200 + ".jpg")
        for end in (offset + 512, offset + 1024):
            path.write_bytes(data[:end])
            assert scan(path) == (["a"], {CUT_OFF: ["0000.tar"]}, set())


def test_whole_archives_are_whole_with_any_padding(path):
    write(path, ["0012"], "a")
    data = path.read_bytes().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    for zeros in (512, 1024, 10_240, 2**18):
        path.write_bytes(data + bytes(zeros))
        assert scan(path) == ([*NAMES, "0012"], {}, set())


def test_names_that_are_not_utf8_are_counted(path):
    write(path, ["caf\udce9"], "a", tarfile.GNU_FORMAT)
    assert scan(path) == (NAMES, {NO_NAME: ["0000.tar"]}, set())
    with path.open("rb") as file:
        assert TarDirectory.read(file, path.stat().st_size).unnamed == 2


def test_the_first_parts_of_mp16_may_be_cut_and_the_joined_archive_may_not(tmp_path, path):
    (tmp_path / "MP16_Pro_filtered.csv").write_text("IMG_ID,LAT,LON\n" + "".join(f"{n}.jpg,1,2\n" for n in NAMES))
    data = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoindex.sources.mp16.LEAST_BYTES", 1)
        for name, harmless in (("mp-16-images00", True), ("mp-16-images.tar", False)):
            (tmp_path / name).write_bytes(data[: len(data) // 2])
            left_out = Mp16(tmp_path).scan().left_out
            assert left_out.examples[CUT_OFF] == ["mp-16-images.tar"]
            assert (CUT_OFF in left_out.harmless) is harmless
