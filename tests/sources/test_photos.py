import os
import pickle
import sys

import pytest
from PIL import ExifTags, Image

from geoindex.errors import DatasetNotFoundError, EmptyDatasetError, UnreadableImageError
from geoindex.sources.exif import EMPTY, NO_GPS, NO_HEIC, NOT_A_NUMBER, OUT_OF_RANGE, UNREADABLE, ZERO
from geoindex.sources.photos import CLOSED, DEAD_END, NOT_AN_IMAGE, PhotosSource


def write(path, lat=None, lon=None, *, gps=None, artist=None, taken=None, size=(8, 6)):
    """Write a photo whose EXIF holds a position in degrees, minutes and seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if lat is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(position(lat, lon))
    if gps is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    if artist:
        exif[ExifTags.Base.Artist] = artist
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    loaded = Image.Exif()  # a fresh one looks empty to some writers
    loaded.load(exif.tobytes())
    Image.new("RGB", size, "green").save(path, exif=loaded)
    return path


def position(lat, lon):
    def dms(angle):
        seconds = round(abs(angle) * 3600)
        return float(seconds // 3600), float(seconds // 60 % 60), float(seconds % 60)

    return {1: "NS"[lat < 0], 2: dms(lat), 3: "EW"[lon < 0], 4: dms(lon)}


def test_hemispheres_suffixes_folders_and_names(tmp_path):
    places = {
        "paris.jpg": (48.8575, 2.3425),
        "sub/Sydney.JPG": (-33.8575, 151.215),
        "sub/deeper/río.png": (-22.9525, -43.21),
        "東京.webp": (35.5, 139.5),
        "z montréal.jpeg": (45.5, -73.5675),
        "cairo.tif": (30.05, 31.25),
    }
    for name, (lat, lon) in places.items():
        write(tmp_path / name, lat, lon)
    scan = PhotosSource(tmp_path).scan()
    assert scan.samples.ids == sorted(places)
    assert scan.samples.images == sorted(places)
    for sample in scan.samples:
        assert (sample.lat, sample.lon) == pytest.approx(places[sample.id], abs=1e-6)
    assert scan.left_out.total == 0


def test_facts_become_labels(tmp_path):
    gps = {7: (10.0, 20.0, 30.0), 17: 271.5, 29: "2020:05:17"}
    write(tmp_path / "a.jpg", 1, 2, gps=gps, artist="Ada L.")
    write(tmp_path / "b.jpg", 1, 2, taken="2019:01:02 03:04:05")
    a, b = PhotosSource(tmp_path).scan().samples
    assert a.heading_deg == pytest.approx(271.5)
    assert a.labels == {"author": "Ada L.", "captured_at": "2020-05-17T10:20:30Z"}
    assert b.heading_deg is None
    assert b.labels == {"captured_at": "2019-01-02T03:04:05"}


def test_good_photos_survive_bad_ones(tmp_path):
    for i in range(150):
        write(tmp_path / f"good{i:03}.jpg", 10, 20 + i / 10)
    whole = write(tmp_path / "good150.jpg", 10, 20, size=(200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])  # its EXIF is whole
    (tmp_path / "cut_in_exif.jpg").write_bytes(whole[:60])
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    write(tmp_path / "plain.jpg")
    write(tmp_path / "null.jpg", 0, 0)
    write(tmp_path / "north.jpg", gps={**position(1, 2), 2: (91.0, 0.0, 0.0)})
    (tmp_path / "notes.txt").touch()
    write(tmp_path / ".hidden.jpg", 1, 2)
    write(tmp_path / ".trash" / "a.jpg", 1, 2)
    scan = PhotosSource(tmp_path).scan()
    assert len(scan.samples) == 152
    assert scan.left_out.counts == {
        EMPTY: 1, UNREADABLE: 3, NO_GPS: 1, ZERO: 1, OUT_OF_RANGE: 1, NOT_AN_IMAGE: 3,
    }  # fmt: skip
    assert scan.left_out.harmless == {NO_GPS, NOT_AN_IMAGE}
    assert scan.left_out.examples[UNREADABLE] == ["cut_in_exif.jpg", "gone.jpg", "text.jpg"]
    assert scan.left_out.examples[NOT_AN_IMAGE] == [".hidden.jpg", ".trash", "notes.txt"]


def test_zero_denominators_are_not_a_position(tmp_path):
    raw = write(tmp_path / "a.jpg", 48.5, 2.5).read_bytes()
    # rationals of this file: 48/1 30/1 0/1, little or big endian
    for order in ("little", "big"):
        good = b"".join(n.to_bytes(4, order) for n in (48, 1, 30, 1))
        bad = b"".join(n.to_bytes(4, order) for n in (48, 0, 30, 1))
        raw = raw.replace(good, bad)
    (tmp_path / "a.jpg").write_bytes(raw)
    write(tmp_path / "b.jpg", 48.5, 2.5)
    scan = PhotosSource(tmp_path).scan()
    assert scan.left_out.counts == {NOT_A_NUMBER: 1}
    assert scan.samples.ids == ["b.jpg"]


def test_kinds_without_exif_and_kinds_that_need_their_reader_loaded(tmp_path):
    write(tmp_path / "a.jpg", 1, 2)
    Image.new("L", (3, 3)).save(tmp_path / "b.gif")
    Image.new("RGB", (3, 3)).save(tmp_path / "c.bmp")
    Image.new("RGB", (3, 3)).save(tmp_path / "d.png")
    scan = PhotosSource(tmp_path).scan()
    assert scan.samples.ids == ["a.jpg"]
    assert scan.left_out.counts == {NO_GPS: 3}


def test_link_loops_end_and_real_paths_win(tmp_path):
    write(tmp_path / "z" / "a.jpg", 1, 2)
    (tmp_path / "z" / "up").symlink_to(tmp_path)
    (tmp_path / "a_link").symlink_to(tmp_path / "z")
    outside = tmp_path.with_name(tmp_path.name + "_outside")
    write(outside / "b.jpg", 3, 4)
    (tmp_path / "m").symlink_to(outside)
    assert PhotosSource(tmp_path).scan().samples.ids == ["m/b.jpg", "z/a.jpg"]


def test_links_that_lead_nowhere_are_counted(tmp_path):
    write(tmp_path / "a.jpg", 1, 2)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "loop").symlink_to("loop")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    scan = PhotosSource(tmp_path).scan()
    assert scan.samples.ids == ["a.jpg"]
    assert scan.left_out.examples == {DEAD_END: ["loop.jpg", "sub/loop"]}
    assert not scan.left_out.harmless


def test_folders_that_cannot_be_read_are_counted(tmp_path, monkeypatch):
    def scandir(folder, listed=os.scandir):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr("geoindex.sources.photos.os.scandir", scandir)  # root may read all
    write(tmp_path / "sub" / "closed" / "b.jpg", 1, 2)
    with pytest.raises(EmptyDatasetError, match=r"no image that can be read .1 x folder cannot be read.; allow"):
        PhotosSource(tmp_path).scan()
    write(tmp_path / "a.jpg", 1, 2)
    scan = PhotosSource(tmp_path).scan()
    assert scan.samples.ids == ["a.jpg"]
    assert scan.left_out.examples == {CLOSED: ["sub/closed"]}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_left_out(tmp_path):
    write(tmp_path / "good.jpg", 1, 2)
    (tmp_path / "b\udcffd.jpg").write_bytes((tmp_path / "good.jpg").read_bytes())
    scan = PhotosSource(tmp_path).scan()
    assert scan.samples.ids == ["good.jpg"]
    assert scan.left_out.examples == {"file name is not UTF-8": ["b?d.jpg"]}


def test_heic_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    write(tmp_path / "a.jpg", 1, 2)
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert PhotosSource(tmp_path).scan().left_out.counts == {NO_HEIC: 1}


def test_nothing_usable_says_what_was_seen(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no folder"):
        PhotosSource(tmp_path / "x").scan()
    with pytest.raises(EmptyDatasetError, match="holds no image"):
        PhotosSource(tmp_path).scan()
    write(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(EmptyDatasetError, match=r"None of the 2 images .*1 x no GPS, 1 x file is empty.*table"):
        PhotosSource(tmp_path).scan()
    (tmp_path / "metadata.csv").touch()
    with pytest.raises(EmptyDatasetError, match=r"open '.*metadata\.csv' instead"):
        PhotosSource(tmp_path).scan()


def test_read_gives_the_file_and_the_source_can_be_pickled(tmp_path):
    path = write(tmp_path / "sub" / "a.jpg", 1, 2)
    source = pickle.loads(pickle.dumps(PhotosSource(tmp_path)))
    assert source.read("sub/a.jpg") == path
    assert source.uri == f"photos:{tmp_path}"
    with pytest.raises(UnreadableImageError, match="no such file"):
        source.read("sub/b.jpg")
