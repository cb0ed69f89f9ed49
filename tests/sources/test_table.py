import json
import os
import pickle
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from geoindex.errors import (
    ConfigError,
    DatasetNotFoundError,
    EmptyDatasetError,
    TableError,
    UnreadableImageError,
)
from geoindex.sources.table import TableSource

SHARED = Path(os.environ.get("GEOINDEX_SHARED", Path(__file__).parents[2].parent / "shared"))


def scan(path, text=None, **columns):
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return TableSource(path, columns).scan()


def rows(result):
    return [(s.id, s.lat, s.lon, s.image) for s in result.samples]


@pytest.mark.parametrize(
    ("header", "id_", "image"),
    [
        ("id,latitude,longitude", "7", "7.jpg"),
        ("IMG_ID,LAT,LON", "7", "7.jpg"),
        ("IMG_FILE,LAT,LON", "7", "7"),
        ("file,lat,lng", "7", "7"),
        ("Image-Path,True_Lat,True Lon", "7", "7"),
        ("key,GPSLatitude,GPSLongitude", "7", "7.jpg"),
        ("filename,y,x", "7", "7"),
    ],
)
def test_spellings(tmp_path, header, id_, image):
    assert rows(scan(tmp_path / "t.csv", f"{header}\n7,1.5,-2\n")) == [(id_, 1.5, -2.0, image)]


def test_labels_by_their_names(tmp_path):
    text = (
        "ID,img_path,lat,lon,country,region,sub-region,city,creator_username,sequence_id,captured_at,compass_angle\n"
        "1,a/1.png,1,2,NA,Erongo,nan,,Jo,s1,1558000000123,370\n"
        "2,/abs/2.png,1,2,,,,,,,2019,359.5\n"
        "3,3.png,1,2,,,,,,,1558000000,\n"
    )
    first, second, third = scan(tmp_path / "t.csv", text).samples
    assert first.labels == {
        "country": "NA", "region": "Erongo", "author": "Jo", "sequence": "s1", "captured_at": "2019-05-16T09:46:40Z",
    }  # fmt: skip
    assert (first.image, first.heading_deg) == ("a/1.png", None)
    assert (second.image, second.heading_deg, second.labels) == ("/abs/2.png", 359.5, {"captured_at": "2019"})
    assert third.labels == {"captured_at": "2019-05-16T09:46:40Z"}


def test_classes_are_text_without_point_zero(tmp_path):
    text = "id,lat,lon,Koppen,landcover,driving_side\n1,1,2,15.0, 4.00 ,0\n2,1,2,Cfb,4.5,left\n3,1,2,,nan,1.\n"
    first, second, third = scan(tmp_path / "t.csv", text).samples
    assert first.labels == {"climate": "15", "land_cover": "4", "drive_side": "0"}
    assert second.labels == {"climate": "Cfb", "land_cover": "4.5", "drive_side": "left"}
    assert third.labels == {"drive_side": "1"}
    numbers = {"id": [1, 2], "lat": [1, 2], "lon": [1, 2], "climate": [15.0, None], "land_cover": [4.0, 4.5]}
    parquet.write_table(pa.table(numbers), tmp_path / "t.parquet")
    labels = [sample.labels for sample in scan(tmp_path / "t.parquet").samples]
    assert labels == [{"climate": "15", "land_cover": "4"}, {"land_cover": "4.5"}]


def test_plain_labels_come_before_unique_ones(tmp_path):
    text = "id,lat,lon,unique_region,region,unique_city\n1,1,2,Bavaria_DE,Bavaria,Ulm_DE\n"
    assert scan(tmp_path / "t.csv", text).samples[0].labels == {"region": "Bavaria", "city": "Ulm_DE"}


def test_overrides_win(tmp_path):
    text = "id,lat,lon,pred,file,who\n1,1,2,5,a.jpg,Jo\n"
    sample = scan(tmp_path / "t.csv", text, lat="pred", author="who", image="who").samples[0]
    assert (sample.lat, sample.labels, sample.image) == (5.0, {"author": "Jo"}, "Jo")


def test_columns_that_cannot_be_meant(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(TableError, match=r"no column 'north' for 'lat'; it has 'id', 'b'"):
        scan(path, "id,b\n1,2\n", lat="north")
    with pytest.raises(TableError, match=r"no latitude column among 'id', 'b'; name it with --column lat=NAME"):
        scan(path)
    with pytest.raises(TableError, match=r"--column lon=NAME"):
        scan(path, lat="b")
    with pytest.raises(ConfigError, match=r"'north'; choose one of lat, lon, id"):
        scan(path, north="b")


def test_bad_rows_cost_only_themselves(tmp_path):
    text = (
        "id,lat,lon\na,1,2\nb,91,2\nc,1,-180.5\nd,,2\ne,1,N/A\nf,0,0.0\na,3,4\ng,inf,4\n,5,6\nh,1\nj,1,2,3\n"
        "k,48°,2\nf,5,0\nb, +7 ,8e0\nl,0,5\n"
    )
    result = scan(tmp_path / "t.csv", text)
    assert [r[:3] for r in rows(result)] == [("a", 1, 2), ("f", 5, 0), ("b", 7, 8), ("l", 0, 5)]
    assert result.left_out.examples == {
        "row has not as many cells as the header": ["h,1", "j,1,2,3"],
        "id is missing": ["row 9"],
        "position is missing": ["d"],
        "position is not a number": ["e", "g", "k"],
        "latitude is outside -90..90": ["b"],
        "longitude is outside -180..180": ["c"],
        "position is 0, 0 (a common placeholder)": ["f"],
        "id appears twice": ["a"],
    }
    assert {reason: len(names) for reason, names in result.left_out.examples.items()} == result.left_out.counts
    assert not result.left_out.harmless


def test_many_bad_rows_are_counted_and_few_named(tmp_path):
    left_out = scan(tmp_path / "t.csv", "id,lat,lon\nx,1,1\n" + "".join(f"{i},99,1\n" for i in range(50))).left_out
    assert left_out.counts == {"latitude is outside -90..90": 50}
    assert left_out.examples == {"latitude is outside -90..90": ["0", "1", "2", "3", "4"]}
    assert left_out.summary() == "50 x latitude is outside -90..90"


def test_byte_order_mark_quotes_and_line_ends(tmp_path):
    text = '\ufefflat,lon,"file name",city\r\n1,2,"a, b\r\nc.jpg",Łódź\r\n3,4,"say ""hi"".jpg",\r\n'
    result = scan(tmp_path / "t.csv", text)
    assert result.samples.ids == ["a, b\r\nc.jpg", 'say "hi".jpg']
    assert result.samples[0].labels == {"city": "Łódź"}


def test_old_encodings_are_read(tmp_path):
    assert scan(tmp_path / "t.csv", "id,lat,lon,city\n1,1,2,Málaga\n".encode("latin-1")).samples[0].labels == {
        "city": "Málaga"
    }


def test_ids_are_text_without_point_zero(tmp_path):
    assert scan(tmp_path / "t.csv", "id,lat,lon\n1.0,1,2\n20.0,1,2\n").samples.ids == ["1", "20"]
    assert scan(tmp_path / "t.csv", "id,lat,lon\n1.0,1,2\nv2.0,1,2\n").samples.ids == ["1.0", "v2.0"]
    assert scan(tmp_path / "t.csv", "id,lat,lon\n007,1,2\n").samples.ids == ["007"]
    table = {"id": [1.0, None, 3859149887465501.0], "lat": [1, 2, 3], "lon": [1.5, 2.5, 3.5]}
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    result = scan(tmp_path / "t.parquet")
    assert result.samples.ids == ["1", "3859149887465501"]
    assert result.left_out.counts == {"id is missing": 1}


def test_tab_separated(tmp_path):
    assert rows(scan(tmp_path / "t.tsv", "id\tlat\tlon\n1,5\t1\t2\n")) == [("1,5", 1.0, 2.0, "1,5.jpg")]


def test_parquet_types(tmp_path):
    noon_in_tokyo = datetime(2020, 5, 17, 12, tzinfo=timezone(timedelta(hours=9)))
    table = pa.table(
        {
            "image_id": pa.array([2**60, 5], pa.int64()),
            "latitude": pa.array(["1.5", "x"]),
            "longitude": pa.array([3, 4], pa.int8()),
            "captured_at": pa.array([noon_in_tokyo] * 2, pa.timestamp("us", "Asia/Tokyo")),
            "country": pa.array(["FR", "DE"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    result = scan(tmp_path / "t.parquet")
    assert rows(result) == [(str(2**60), 1.5, 3.0, f"{2**60}.jpg")]
    assert result.samples[0].labels == {"captured_at": "2020-05-17T03:00:00Z", "country": "FR"}
    assert result.left_out.counts == {"position is not a number": 1}


def test_nested_columns_are_refused_by_name(tmp_path):
    table = pa.table({"image": [{"bytes": b"", "path": "a"}], "lat": [1.0], "lon": [2.0]})
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"image column holds struct.* --column image=NAME"):
        scan(tmp_path / "t.parquet")


def test_json_lines(tmp_path):
    records = [{"id": 5, "lat": 1, "lng": 2.5, "captured_at": 1558000000123}, {"id": 6, "lat": None, "lng": 1}]
    result = scan(tmp_path / "t.jsonl", "\n".join(map(json.dumps, records)))
    assert rows(result) == [("5", 1.0, 2.5, "5.jpg")]
    assert result.samples[0].labels == {"captured_at": "2019-05-16T09:46:40Z"}
    assert result.left_out.counts == {"position is missing": 1}


def test_json_lines_of_mixed_types_and_broken_lines(tmp_path):
    lines = ['{"id": 5, "lat": 1, "lon": 2}', '{"id": "x", "lat": "n/a", "lon": 2}', "{oops", "[1]", "", '{"lat": 1}']
    result = scan(tmp_path / "t.jsonl", "\n".join(lines))
    assert rows(result) == [("5", 1.0, 2.0, "5.jpg")]
    assert result.left_out.counts == {
        "line is not a JSON object": 2, "position is not a number": 1, "id is missing": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        ['"2021-05-03"', '"2021-05-04T10:20:30Z"'],
        ["12345678901234567890", "12345678901234567891"],
        ["9007199254740993", "1.50"],
        ['"007"', "7", '"7.0"', "1e3"],
    ],
)
def test_json_lines_keep_ids_and_labels_as_they_are_written(tmp_path, values):
    lines = [f'{{"id": {value}, "lat": 1.5, "lon": 2, "city": {value}, "more": {{"a": 1.5}}}}' for value in values]
    samples = scan(tmp_path / "t.jsonl", "\n".join(lines)).samples
    wanted = [value.strip('"') for value in values]
    assert samples.ids == wanted
    assert samples.label("city") == wanted
    assert samples.lat.tolist() == [1.5] * len(values)


def test_json_lines_end_at_newlines_only(tmp_path):
    lines = ['{"id": "a\u2028b", "lat": 1, "lon": 2}\r', '{"id": "c\x85d", "lat": 1, "lon": "2"}\r', "{"]
    result = scan(tmp_path / "t.jsonl", "\ufeff" + "\n".join(lines))
    assert result.samples.ids == ["a\u2028b", "c\x85d"]
    assert result.left_out.examples == {"line is not a JSON object": ["line 3"]}


def test_positions_alone_have_no_images(tmp_path):
    path = tmp_path / "t.csv"
    assert rows(scan(path, "LAT,LON\n1,2\n99,2\n3,4\n")) == [("0", 1.0, 2.0, ""), ("2", 3.0, 4.0, "")]
    with pytest.raises(UnreadableImageError, match="no column of images"):
        TableSource(path).read("")


def test_images_lie_relative_to_the_table(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    source = pickle.loads(pickle.dumps(TableSource(tmp_path / "t.csv")))
    assert source.read("a/1.jpg") == tmp_path / "a" / "1.jpg"
    assert source.read(str(tmp_path / "a" / "1.jpg")) == tmp_path / "a" / "1.jpg"
    with pytest.raises(UnreadableImageError, match=r"a/2\.jpg.*no such file"):
        source.read("a/2.jpg")


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("t.csv", b"", EmptyDatasetError, "empty file"),
        ("t.csv", b"id,lat,lon\n", EmptyDatasetError, "a header and no rows"),
        ("t.csv", b"id,lat,lon\n1,99,1\n", EmptyDatasetError, "1 x latitude is outside"),
        ("t.jsonl", b"\n", TableError, "no latitude column among no columns"),
        ("t.parquet", b"PAR1 no", TableError, "cannot be read"),
        ("t.csv", "id,lat,lon\n1,2,3\n".encode("utf-16"), TableError, "UTF-16; save it as UTF-8"),
        ("t.xlsx", b"x", DatasetNotFoundError, r"\.csv, \.tsv, \.parquet, \.jsonl"),
    ],
)
def test_bad_files_say_so_in_one_sentence(tmp_path, name, content, error, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        scan(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_table(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no table"):
        scan(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "count", "first", "label"),
    [
        ("tables/im2gps3k_places365.csv", 2997, (32.325436, -64.764404), {"author": "78841376@N00"}),
        ("tables/yfcc25600_places365.csv", 25600, (46.778991, 23.611207), {"author": "43008843@N00"}),
        ("tables/geoclip_coordinates_100K.csv", 100_000, (-50.943392, -72.935664), {}),
        ("tables/streetview_positions_166k.csv", 165_999, (60.15805, 19.905592), {}),
        ("tables/osv5m_select_50.csv", 50, (-43.94258213019922, 170.12986498719653), {"country": "NZ"}),
        ("im2gps3k/metadata.csv", 2997, (32.325436, -64.764404), {"author": "78841376_N00"}),
        ("street/metadata.csv", 79, (52.518917, 13.400294), {}),
    ],
)
def test_real_tables_as_they_are(name, count, first, label):
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    source = TableSource(path)
    result = source.scan()
    assert (len(result.samples), result.left_out.counts) == (count, {})
    sample = result.samples[0]
    assert (sample.lat, sample.lon) == first
    assert label.items() <= sample.labels.items()
    if name.endswith("metadata.csv"):
        assert source.read(sample.image).is_file()
