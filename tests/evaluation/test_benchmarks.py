"""Benchmarks in made-up copies of their official layout."""

import json
from typing import get_args

import pytest
from tiles import HUBS, save_tile

from geoindex.cli import asking
from geoindex.errors import ConfigError, DatasetNotFoundError, TableError
from geoindex.evaluation.benchmarks import BENCHMARKS, open_benchmark
from geoindex.evaluation.protocol import evaluate
from geoindex.metrics import CONVENTIONS
from geoindex.sources import open_source
from geoindex.sources.listed import NO_FILE, ListedSource

HEADER = "IMG_ID,AUTHOR,LAT,LON,S3_Label,S16_Label,S365_Label,Prob_indoor,Prob_natural,Prob_urban"


def line(name, lat, lon, author="78841376@N00"):
    return f"{name},{author},{lat},{lon},2,12,353,0.27,0.05,0.68"


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def im2gps3k(tmp_path):
    """One image under its own name, one with @ replaced, one two folders below, and one that is missing."""
    names = [f"{number}_abc_1_78841376@N00.jpg" for number in range(4)]
    points = list(HUBS.values())[:4]
    write(tmp_path / "tables" / "im2gps3k_places365.csv", HEADER, *map(line, names, *zip(*points, strict=True)))
    save_tile(tmp_path / "im2gps3ktest" / names[0], *points[0])
    save_tile(tmp_path / "im2gps3ktest" / names[1].replace("@", "_"), *points[1])
    save_tile(tmp_path / "a" / "b" / names[2], *points[2])
    return tmp_path


def test_images_are_found_whatever_became_of_their_names(im2gps3k):
    source = open_benchmark("im2gps3k", im2gps3k)
    scan = source.scan()
    assert scan.samples.ids == [f"{number}_abc_1_78841376@N00.jpg" for number in range(3)]
    assert scan.samples.label("author") == ["78841376@N00"] * 3
    assert scan.left_out.examples == {NO_FILE: ["3_abc_1_78841376@N00.jpg"]}
    assert all(source.read(image).is_file() for image in scan.samples.images)
    again = open_source(source.uri)
    assert again.scan().samples.table.equals(scan.samples.table)


def test_ids_with_folders_and_tables_of_yfcc(tmp_path):
    write(
        tmp_path / "yfcc25600_places365.csv", HEADER, line("45/77/3228511372.jpg", 46.8, 23.6), line("1/2/3.jpg", 1, 2)
    )
    save_tile(tmp_path / "images" / "45" / "77" / "3228511372.jpg", 46.8, 23.6)
    save_tile(tmp_path / "1_2_3.jpg", 1, 2)
    samples = open_benchmark("yfcc26k", tmp_path).scan().samples
    assert samples.images == ["images/45/77/3228511372.jpg", "1_2_3.jpg"]


def test_rows_of_yfcc100m(tmp_path):
    cells = [
        "7",
        "3228511372",
        "hash",
        "12@N01",
        "nick",
        "2009",
        "2010",
        "cam",
        "a title",
        "",
        "",
        "",
        "23.6",
        "46.8",
        "16",
    ]
    write(tmp_path / "info.txt", "\t".join(cells), "short\trow")
    save_tile(tmp_path / "yfcc4k" / "3228511372.jpg", 46.8, 23.6)
    sample = open_benchmark("yfcc4k", tmp_path).scan().samples[0]
    assert (sample.id, sample.lat, sample.lon, sample.labels["author"]) == ("3228511372", 46.8, 23.6, "12@N01")
    write(tmp_path / "info.txt", "no tabs")
    with pytest.raises(TableError, match="no rows of YFCC100M"):
        open_benchmark("yfcc4k", tmp_path).scan()


def test_the_info_of_im2gps(tmp_path):
    lines = ["url", "latitude: 48.8", "longitude: 2.3", "tags", "title"]
    (tmp_path / "info.json").write_text(json.dumps({"a@N00.jpg": lines}))
    save_tile(tmp_path / "a_N00.jpg", 48.8, 2.3)
    sample = open_benchmark("im2gps", tmp_path).scan().samples[0]
    assert (sample.lat, sample.lon, sample.image) == (48.8, 2.3, "a_N00.jpg")
    (tmp_path / "info.json").write_text("[1, 2]")
    with pytest.raises(TableError, match=r"im2gps_places365\.csv instead"):
        open_benchmark("im2gps", tmp_path).scan()


def test_a_set_like_gws15k_is_any_table_with_images(tmp_path):
    write(tmp_path / "mine.csv", "IMG_FILE,LAT,LON", "a.jpg,1.5,2.5")
    save_tile(tmp_path / "a.jpg", 1.5, 2.5)
    assert open_benchmark("gws15k-like", tmp_path).scan().samples.ids == ["a.jpg"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_is_missing_is_said_with_where_it_comes_from(tmp_path, name):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(DatasetNotFoundError) as error:
            open_benchmark(name, root)
        assert BENCHMARKS[name].origin in str(error.value)


def test_a_table_without_its_images(tmp_path):
    write(tmp_path / "im2gps3k_places365.csv", HEADER, line("a.jpg", 1, 2))
    with pytest.raises(DatasetNotFoundError, match=r"None of the 1 images .* such as 'a.jpg', is in"):
        open_benchmark("im2gps3k", tmp_path).scan()
    write(tmp_path / "im2gps3k_places365.csv", "LAT,LON", "1,2")
    with pytest.raises(TableError, match="names no images"):
        ListedSource(tmp_path, tmp_path / "im2gps3k_places365.csv").scan()


def test_a_benchmark_must_be_one(tmp_path, index):
    with pytest.raises(ConfigError, match="No benchmark 'gws15k'; choose one of im2gps, im2gps3k"):
        open_benchmark("gws15k", tmp_path)
    for options in ({"benchmark": "im2gps3k"}, {"root": tmp_path}, {"benchmark": "im2gps", "root": 1, "source": "x"}):
        with pytest.raises(ConfigError, match="--benchmark NAME --root DIR"):
            evaluate(index, **options)


def test_the_command_asks_a_benchmark(im2gps3k, index_folder, run):
    code, out, _ = run("eval", index_folder, "--benchmark", "im2gps3k", "--root", im2gps3k)
    assert code == 3
    assert "3 queries (im2gps3k in" in out
    assert "Warning: 1 of its photos are missing or cannot be read." in out


def test_the_command_knows_every_benchmark_and_convention():
    assert set(get_args(asking.Benchmark)) == set(BENCHMARKS)
    assert set(get_args(asking.Convention)) == set(CONVENTIONS)
