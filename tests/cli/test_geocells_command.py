"""The command that divides the Earth by a table of positions."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from terminal import sentence
from tiles import write_table

from geoindex.geo import haversine_km

HEADER = ("id", "lat", "lon")
QUICK = ("--geocells.min-samples", "5", "--geocells.xi", "0.1")


def rows(count=60, seed=0):
    rng = np.random.default_rng(seed)
    lat, lon = rng.normal(48, 3, count), rng.normal(8, 3, count)
    return [(f"p{n}", *place) for n, place in enumerate(zip(lat.tolist(), lon.tolist(), strict=True))]


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "good.csv", rows(), HEADER)


def cells_of(folder):
    cells = pq.read_table(folder / "cells.parquet")
    return cells["lat"].to_numpy(), cells["lon"].to_numpy()


class TestGood:
    """Tables with positions: exit code 0, the report on stdout, nothing on stderr."""

    def test_rows_that_are_no_positions_are_left_out_and_named(self, run, tmp_path):
        bad = [("hole", "nan", 1), ("high", 91, 2), ("far", 10, 540), ("none", "", 5), ("word", "north", 7)]
        table = write_table(tmp_path / "t.csv", [*rows(), *bad], HEADER)
        code, out, err = run("geocells", table, "--out", tmp_path / "out", *QUICK, "--held-out", 0.1)
        assert (code, err) == (0, "")
        assert f"{tmp_path / 'out'}: positions: 54, " in out
        assert "left out 2: position is missing (such as hole, none)" in out
        assert "left out 1: latitude is outside -90..90 (such as high)" in out
        assert "left out 1: longitude is outside -180..180 (such as far)" in out
        assert "left out 1: position is not a number (such as word)" in out
        assert "held out: its cluster" in out
        assert np.isfinite(cells_of(tmp_path / "out")).all()

    def test_json_is_the_report(self, run, table, tmp_path):
        flags = ("--geocells.method", "balanced", "--geocells.n-cells", 4, "--sample", 40, "--format", "json")
        code, out, err = run("geocells", table, "--out", tmp_path / "out", *flags)
        assert (code, err) == (0, "")
        report = json.loads(out)
        assert report == json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
        assert (report["counts"]["positions"], report["counts"]["cells"], report["schema"]) == (40, 4, 1)

    @pytest.mark.parametrize("count", [1, 10_000])
    def test_equal_whole_degrees_are_one_cell_where_they_are(self, run, tmp_path, count):
        table = write_table(tmp_path / "t.csv", [(-34, 151)] * count, ("up", "across"))
        columns = ("--column", "lat=up", "--column", "lon=across")
        code, out, err = run("geocells", table, "--out", tmp_path / "out", *columns)
        assert (code, err) == (0, "")
        assert f"positions: {count:,}, cells: 1," in out
        assert "left out" not in out
        lat, lon = cells_of(tmp_path / "out")
        assert haversine_km(lat, lon, -34, 151).tolist() == pytest.approx([0.0], abs=1e-6)

    def test_fewer_positions_than_neighbours(self, run, tmp_path):
        table = write_table(tmp_path / "t.csv", rows(4), HEADER)
        code, _, err = run("geocells", table, "--out", tmp_path / "out", "--geocells.min-samples", 20)
        assert (code, err) == (0, "")
        assert np.isfinite(cells_of(tmp_path / "out")).all()


class TestRefusals:
    """What is not valid or used: its exit code and one sentence, and no folder."""

    def refusal(self, run, source, tmp_path, *flags, code=1):
        got, out, err = run("geocells", source, "--out", tmp_path / "out", *flags)
        assert (got, out) == (code, "")
        assert not (tmp_path / "out").is_dir()
        return sentence(err)

    def test_an_empty_file(self, run, tmp_path):
        (tmp_path / "t.csv").write_text("")
        assert "is an empty file; it needs a header and rows" in self.refusal(run, tmp_path / "t.csv", tmp_path)

    def test_a_header_alone(self, run, tmp_path):
        table = write_table(tmp_path / "t.csv", [], HEADER)
        assert "has a header and no rows" in self.refusal(run, table, tmp_path)

    def test_no_good_row(self, run, tmp_path):
        table = write_table(tmp_path / "t.csv", [("a", 91, 0), ("b", "nan", 3), ("c", 1, 540)], HEADER)
        line = self.refusal(run, table, tmp_path)
        assert "has no usable row" in line
        assert "latitude is outside -90..90" in line

    def test_a_missing_file(self, run, tmp_path):
        assert "missing.csv" in self.refusal(run, tmp_path / "missing.csv", tmp_path)

    def test_a_wrong_column(self, run, table, tmp_path):
        line = self.refusal(run, table, tmp_path, "--column", "lat=north")
        assert "has no column 'north' for 'lat'; it has 'id', 'lat', 'lon'" in line

    def test_a_column_without_a_meaning(self, run, table, tmp_path):
        assert "MEANING=NAME" in self.refusal(run, table, tmp_path, "--column", "north", code=2)

    @pytest.mark.parametrize("share", ["1.5", "1", "-0.2", "nan"])
    def test_a_share_that_is_none(self, run, table, tmp_path, share):
        assert "cannot be held out; take 0 or more and less than 1" in self.refusal(
            run, table, tmp_path, "--held-out", share, code=2
        )

    @pytest.mark.parametrize(
        ("flag", "value", "said"),
        [
            ("--geocells.method", "voronoi", '"optics", "hdbscan", "quadtree", "balanced", "grid"'),
            ("--geocells.within", "planet", "choose one of country, region"),
            ("--geocells.within", "author", "no position has it; take one of country, region, city"),
            ("--geocells.n-cells", "0", "at least 1"),
            ("--geocells.min-samples", "1", "2 or more"),
            ("--geocells.xi", "1", "between 0 and 1"),
            ("--geocells.max-depth", "31", "0 to 30"),
            ("--clusters.levels", "0", "at least 1"),
            ("--sample", "0", "at least 1"),
            ("--seed", "-1", "0 or more"),
            ("--held-out", "much", "--held-out"),
            ("--cells", "4", "--cells"),
        ],
    )
    def test_a_value_that_cannot_be_meant(self, run, table, tmp_path, flag, value, said):
        line = self.refusal(run, table, tmp_path, flag, value, code=2)
        assert said in line

    def test_no_folder_to_write_to(self, run, table):
        code, out, err = run("geocells", table)
        assert (code, out) == (2, "")
        assert "--out" in sentence(err)

    def test_an_output_path_that_is_a_file(self, run, table, tmp_path):
        (tmp_path / "out").write_text("mine")
        assert "choose another place" in self.refusal(run, table, tmp_path)
        assert (tmp_path / "out").read_text() == "mine"
