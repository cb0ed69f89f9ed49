"""Archives of data sets on object storage are read in place, as those on a disk."""

import io
import json
import pickle
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from tiles import PHOTOS

import geoindex
from geoindex.errors import DatasetNotFoundError, UnreadableImageError
from geoindex.shards import MISSING, stamp_of
from geoindex.sources import open_source
from geoindex.store import buckets

NUMBERS = range(24)


def jpeg(number):
    file = io.BytesIO()
    PHOTOS[number % len(PHOTOS)].save(file, "JPEG")
    return file.getvalue()


def position(number):
    return 10.0 + number, 20.0 + number


@pytest.fixture
def zips(tmp_path):
    """OSV-5M: a table, three archives, one extracted photo."""
    root = tmp_path / "osv5m"
    images = root / "images" / "train"
    images.mkdir(parents=True)
    rows = [f"{n},{position(n)[0]},{position(n)[1]}" for n in NUMBERS]
    (root / "train.csv").write_text("\n".join(["id,latitude,longitude", *rows]) + "\n")
    for shard in range(3):
        with zipfile.ZipFile(images / f"0{shard}.zip", "w") as archive:
            for number in range(shard, 23, 3):
                archive.writestr(f"0{shard}/{number}.jpg", jpeg(number))
    (images / "23.jpg").write_bytes(jpeg(23))
    return root


@pytest.fixture
def tars(tmp_path):
    """OSV-5M as WebDataset: two shards."""
    root = tmp_path / "wds"
    (root / "train").mkdir(parents=True)
    for shard in range(2):
        with tarfile.open(root / "train" / f"000{shard}.tar", "w") as archive:
            for number in range(shard, len(NUMBERS), 2):
                lat, lon = position(number)
                facts = json.dumps({"latitude": lat, "longitude": lon}).encode()
                for name, data in ((f"{number}.jpg", jpeg(number)), (f"{number}.json", facts)):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return root


@pytest.fixture
def uploaded(bucket, service):
    """Put a folder into the bucket; return its URL."""

    def upload(root):
        for path in root.rglob("*"):
            if path.is_file():
                obstore.put(bucket, f"data/{root.name}/{path.relative_to(root)}", path.read_bytes())
        service.forget()
        return f"s3://{bucket.config['bucket']}/data/{root.name}"

    return upload


def bytes_of(image):
    return image if isinstance(image, bytes) else image.read_bytes()


@pytest.mark.parametrize(("scheme", "fixture"), [("osv5m", "zips"), ("osv5m-wds", "tars")])
def test_samples_and_images_are_those_of_the_disk(scheme, fixture, request, uploaded, service):
    root = request.getfixturevalue(fixture)
    here, there = (open_source(f"{scheme}:{place}?split=train") for place in (root, uploaded(root)))
    assert there.uri == f"{scheme}:{uploaded(root)}?split=train"
    samples = here.scan().samples
    assert there.scan().samples.table.equals(samples.table)
    assert len(samples) == len(NUMBERS)
    service.forget()
    with ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda image: bytes_of(there.read(image)), samples.images))
    assert read == [bytes_of(here.read(image)) for image in samples.images]
    assert service.requests == {"GET": len(NUMBERS)}  # one a photo
    again = pickle.loads(pickle.dumps(there))
    service.forget()
    assert bytes_of(again.read(samples.images[0])) == read[0]
    assert service.requests["GET"] <= 5  # listing, directory (kept of a tar), member


def test_a_stamp_changes_with_the_archive(zips, uploaded, bucket):
    url = uploaded(zips)
    source = open_source(f"osv5m:{url}?split=train")
    stamp = stamp_of(source.file_of("00.zip/00/0.jpg"))
    assert stamp not in ("", MISSING)
    assert stamp_of(source.file_of("09.zip/00/0.jpg")) == MISSING
    obstore.put(bucket, "data/osv5m/images/train/00.zip", b"another")
    assert stamp_of(open_source(f"osv5m:{url}?split=train").file_of("00.zip/00/0.jpg")) != stamp


def test_an_index_is_built_where_every_tenth_request_fails(zips, uploaded, service, tmp_path):
    url = uploaded(zips)
    service.busy_every = 10
    report = geoindex.build_index(
        f"osv5m:{url}?split=train", out=tmp_path / "index",
        encoder="timm:vit_tiny_patch16_224/random?depth=1&img_size=32", split_by="none",
    )  # fmt: skip
    assert report.counts["images"] == len(NUMBERS)
    assert report.failed == 0


def test_what_is_not_there_is_told(uploaded, zips, tars, bucket):
    url = uploaded(zips)
    with pytest.raises(DatasetNotFoundError, match="There is no folder"):
        open_source(f"osv5m:{url}/nothing?split=train")
    with pytest.raises(DatasetNotFoundError, match=r"expected 'test\.csv'"):
        open_source(f"osv5m:{url}?split=test").scan()
    with pytest.raises(DatasetNotFoundError, match="reads none but these"):
        open_source(f"listed:{url}?table=x.csv")
    source = open_source(f"osv5m:{url}?split=train")
    with pytest.raises(UnreadableImageError, match="no such member"):
        source.read("00.zip/00/99.jpg")
    with pytest.raises(UnreadableImageError, match="no such file"):
        source.read("99.jpg")
    obstore.put(bucket, "data/osv5m/images/train/01.zip", b"short")
    with pytest.raises(UnreadableImageError, match="damaged"):
        source.read("01.zip/01/1.jpg")


def test_paths_of_a_bucket_are_as_those_of_a_disk(zips, uploaded):
    here, there = zips, buckets.place_at(uploaded(zips))
    for name in ("", "images", "images/train"):
        ours, theirs = (
            sorted(path.name for path in (root / name if name else root).iterdir()) for root in (here, there)
        )
        assert ours == theirs
    file = there / "images" / "train" / "00.zip"
    assert (file.name, file.suffix, file.parent.name) == ("00.zip", ".zip", "train")
    assert file.stat().st_size == (here / "images" / "train" / "00.zip").stat().st_size
    assert [path.name for path in file.parent.glob("*.zip")] == ["00.zip", "01.zip", "02.zip"]
    assert file.is_file()
    assert not file.is_dir()
    assert not file.parent.is_file()
    assert sorted([file, there / "a"])[0] == there / "a"


def test_a_large_file_is_one_request(bucket, service):
    data = bytes(range(256)) * 2000
    obstore.put(bucket, "data/large.jpg", data)
    place = buckets.place_at(f"s3://{bucket.config['bucket']}/data") / "large.jpg"
    assert place.is_file()
    service.forget()
    with place.open() as file:
        assert file.read() == data
    assert service.requests == {"GET": 1}


def test_the_directory_of_a_tar_is_kept(tars, uploaded, service):
    source = open_source(f"osv5m-wds:{uploaded(tars)}?split=train")
    image = source.scan().samples.images[0]
    again = pickle.loads(pickle.dumps(source))
    again.file_of(image).stat()
    service.forget()
    again.read(image)
    assert service.requests == {"GET": 1}
