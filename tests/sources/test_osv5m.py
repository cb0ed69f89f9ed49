import pickle
import threading
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from geoindex.errors import (
    ConfigError,
    DatasetNotFoundError,
    EmptyDatasetError,
    TableError,
    UnreadableImageError,
)
from geoindex.sources.osv5m import DAMAGED, NO_ARCHIVE, Osv5m

HEADER = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,lat_bin,cell,region,sub-region,city,"
    "land_cover,quadtree_10_1000,unique_region,unique_sub-region,unique_city,unique_country,creator_username,creator_id,"
    "road_index,drive_side,climate,soil,dist_sea"
)


def row(id_, lat=1.5, lon=2.5):
    return (
        f'{id_},{lat},{lon},,NZ,seq1,1558000000123,8,3,"(0, 8)",Chatham Islands,,Waitangi,4.0,7,'
        "Chatham Islands_NZ,,Waitangi_NaN_Chatham Islands_NZ,NZ,roadroid,42,2.5,1,15.0,9.0,0.25"
    )


def shard(path, members, method=zipfile.ZIP_STORED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.fixture
def root(tmp_path):
    ids = ["3859149887465501", "11", "12", "13", "14", "15"]
    (tmp_path / "train.csv").write_text("\n".join([HEADER, *map(row, ids), row("16", lat=95)]) + "\n")
    images = tmp_path / "images" / "train"
    shard(images / "00.zip", {"00/3859149887465501.jpg": b"long id", "00/": b"", "11.jpg": b"eleven" * 99})
    shard(images / "01.zip", {"01/12.jpg": b"twelve" * 999, "01/._13.jpg": b"x"}, zipfile.ZIP_DEFLATED)
    (images / "02").mkdir()
    (images / "02" / "14.jpg").write_bytes(b"fourteen")
    (images / "02" / "readme.txt").touch()
    (images / "15.jpg").write_bytes(b"fifteen")
    shard(images / "03.zip", {"03/16.jpg": b"bad row", "03/14.jpg": b"extracted is taken"})
    return tmp_path


def bytes_of(image):
    return image if isinstance(image, bytes) else image.read_bytes()


def test_shards_and_extracted_folders_are_read_in_place(root):
    before = sorted(path for path in root.rglob("*"))
    source = Osv5m(root)
    scan = source.scan()
    assert dict(zip(scan.samples.ids, scan.samples.images, strict=True)) == {
        "3859149887465501": "00.zip/00/3859149887465501.jpg",
        "11": "00.zip/11.jpg",
        "12": "01.zip/01/12.jpg",
        "14": "02/14.jpg",
        "15": "15.jpg",
    }
    contents = [bytes_of(source.read(image)) for image in scan.samples.images]
    assert contents == [b"long id", b"eleven" * 99, b"twelve" * 999, b"fourteen", b"fifteen"]
    assert scan.left_out.examples == {NO_ARCHIVE: ["13"], "latitude is outside -90..90": ["16"]}
    assert scan.left_out.harmless == {NO_ARCHIVE}
    assert sorted(path for path in root.rglob("*")) == before


def test_labels(root):
    assert Osv5m(root).scan().samples[0].labels == {
        "country": "NZ",
        "region": "Chatham Islands",
        "city": "Waitangi",
        "author": "roadroid",
        "sequence": "seq1",
        "captured_at": "2019-05-16T09:46:40Z",
        "climate": "15",
        "land_cover": "4",
        "drive_side": "1",
    }


def test_only_id_and_position_are_needed(root):
    (root / "train.csv").write_text("longitude,unique_city,id,latitude\n2.5,Ulm_DE,11,1.5\n")
    assert Osv5m(root).scan().samples[0].labels == {"city": "Ulm_DE"}
    (root / "train.csv").write_text("longitude,image,latitude\n2.5,11,1.5\n")
    with pytest.raises(TableError, match="no 'id' column"):
        Osv5m(root).scan()


def test_a_pickled_source_reads_from_many_threads(root):
    source = Osv5m(root)
    images = source.scan().samples.images
    expected = [bytes_of(source.read(image)) for image in images]
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    barrier = threading.Barrier(8)

    def read_all():
        barrier.wait()
        return [[bytes_of(copy.read(image)) for image in images] for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        results = [future.result() for future in [pool.submit(read_all) for _ in range(8)]]
    assert all(contents == expected for result in results for contents in result)


def test_a_damaged_shard_costs_only_itself(root):
    (root / "images" / "train" / "01.zip").write_bytes(b"PK\x03\x04 half a download")
    scan = Osv5m(root).scan()
    assert scan.left_out.counts[DAMAGED] == 1
    assert scan.left_out.examples[NO_ARCHIVE] == ["12", "13"]
    assert "11" in scan.samples.ids


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_inflated_to_the_limit_of_images_only(root, monkeypatch, method):
    monkeypatch.setattr("geoindex.sources.archive.MAX_BYTES", 2**20)
    shard(root / "images" / "train" / "04.zip", {"17.jpg": bytes(2**20), "18.jpg": bytes(2**25)}, method)
    source = Osv5m(root)
    assert source.read("04.zip/17.jpg") == bytes(2**20)
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="more bytes than the limit of 1048576"):
        source.read("04.zip/18.jpg")
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["00.zip", "01.zip"])
def test_a_damaged_member_is_an_error_that_names_it(root, name):
    path = root / "images" / "train" / name
    image = {"00.zip": "00.zip/11.jpg", "01.zip": "01.zip/01/12.jpg"}[name]
    source = Osv5m(root)
    source.scan()
    data = bytearray(path.read_bytes())
    at = data.index(b"eleven") if name == "00.zip" else data.index(b"12.jpg") + 12
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=rf"{image}.*damaged"):
        source.read(image)
    path.unlink()
    with pytest.raises(UnreadableImageError, match=image):
        Osv5m(root).read(image)


def test_images_that_are_not_there(root):
    for image in ("00.zip/77.jpg", "09.zip/11.jpg", "02/99.jpg"):
        with pytest.raises(UnreadableImageError, match=image):
            Osv5m(root).read(image)


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(ConfigError, match=r"'val'; choose one of train, test"):
        Osv5m(root, "val")
    with pytest.raises(DatasetNotFoundError, match=r"'test\.csv' and 'images/test/00\.zip'.*osv5m/osv5m"):
        Osv5m(root, "test").scan()
    (root / "images" / "test").mkdir()
    (root / "test.csv").write_text("id,latitude,longitude\n1,2,3\n")
    with pytest.raises(DatasetNotFoundError, match="osv5m/osv5m"):
        Osv5m(root, "test").scan()
    shard(root / "images" / "test" / "00.zip", {"2.jpg": b""})
    with pytest.raises(EmptyDatasetError, match="1 x image is in no archive"):
        Osv5m(root, "test").scan()
