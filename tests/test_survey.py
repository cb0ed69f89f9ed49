"""A survey of positions: what is written can be read, and says the same everywhere."""

import csv
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from PIL import Image
from tiles import write_table

import geoindex
from geoindex import geo
from geoindex.assembly.division import divide_positions
from geoindex.errors import ConfigError, EmptyDatasetError, StorageError
from geoindex.geocells.fitting import read_partition
from geoindex.metrics import measure
from geoindex.recipe import ClusterRecipe, GeocellRecipe, Recipe
from geoindex.sources import open_source

HEADER = ("id", "latitude", "longitude", "country")
BAD = [
    ("hole", "nan", 1, "A"),
    ("high", 91, 2, "A"),
    ("far", 10, 540, "B"),
    ("none", "", 5, "B"),
    ("word", "x", 7, "C"),
]
QUICK = {"min_samples": (5, 10), "xi": (0.05, 0.1)}
SURVEYS = {
    "optics": (GeocellRecipe(**QUICK), ClusterRecipe(images_per_cluster=2), None, 0.25),
    "within": (GeocellRecipe(**QUICK, within="country", method="balanced"), ClusterRecipe(), None, 0.25),
    "quadtree": (
        GeocellRecipe(method="quadtree"),
        ClusterRecipe(levels=2, min_clusters=2, max_clusters=3, images_per_cluster=1),
        200,
        0.0,
    ),
}


def town_rows(count=400, seed=0):
    rng = np.random.default_rng(seed)
    town = rng.integers(0, 20, count)
    spread = 10.0 ** rng.uniform(-3, -1, size=(count, 1))
    lat, lon = geo.from_unit(rng.normal(size=(20, 3))[town] + spread * rng.normal(size=(count, 3)))
    country = ["ABC"[number % 3] if number < 18 else "" for number in town]
    return list(zip((f"p{n:03d}" for n in range(count)), lat.tolist(), lon.tolist(), country, strict=True))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of 400 good and five bad rows."""
    return write_table(tmp_path_factory.mktemp("table") / "positions.csv", [*town_rows(), *BAD], HEADER)


@pytest.fixture(scope="module", params=SURVEYS)
def surveyed(request, table, tmp_path_factory):
    """The recipe, the share held out and the report of a survey into a folder with a file of somebody else."""
    geocells, clusters, sample, held_out = SURVEYS[request.param]
    recipe = Recipe(source=str(table), sample=sample, seed=3, geocells=geocells, clusters=clusters)
    folder = tmp_path_factory.mktemp("survey") / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    return recipe, held_out, geoindex.survey_positions(recipe, folder, held_out)


def read(path):
    """Return the columns of a table and the geometries, if it has any."""
    found = pq.read_table(path)
    columns = {name: found[name].to_numpy() for name in found.column_names if name != "geometry"}
    return columns, shapely.from_wkb(found["geometry"].to_pylist()) if "geometry" in found.column_names else None


def labels_of(recipe, ids):
    samples = open_source(recipe.source).scan().samples
    known = dict(zip(samples.ids, samples.label("country"), strict=True))
    return [known[name] for name in ids]


def others_of(recipe, ids):
    """Return ids and positions that were not taken."""
    samples = open_source(recipe.source).scan().samples
    rows = np.flatnonzero(~np.isin(samples.ids, ids))
    return [samples.ids[row] for row in rows], samples.lat[rows], samples.lon[rows]


def numbers(found):
    return {name: getattr(found, name) for name in ("count", "mean_km", "median_km", "geoscore")} | found.accuracy


def numbers_of(distance_km):
    return pytest.approx(numbers(measure(distance_km)), rel=1e-9)


def test_every_file_is_written_and_no_other_is_claimed(surveyed):
    recipe, _, report = surveyed
    names = {"cells.geojson", "cells.parquet", "clusters.parquet", "positions.parquet", "partition.json", "sweep.csv"}
    names |= {"report.json", "cells.png", "sizes.png", "floor.png"}
    names |= {"reachability.png"} if recipe.geocells.method == "optics" else set()
    assert set(report.files) == names
    assert {path.name for path in report.path.iterdir()} == names | {"thesis.txt"}
    assert (report.path / "thesis.txt").read_text() == "mine"
    for name in names:
        if name.endswith(".png"):
            with Image.open(report.path / name) as picture:
                assert picture.width == 1600


def test_partition_assigns_as_positions_say(surveyed):
    recipe, _, report = surveyed
    columns, _ = read(report.path / "positions.parquet")
    partition = read_partition(json.loads((report.path / "partition.json").read_text("utf-8")))
    labels = labels_of(recipe, columns["id"])
    np.testing.assert_array_equal(partition.assign(columns["lat"], columns["lon"], labels), columns["cell"])
    assert set(columns["cell"]) == set(range(len(partition)))
    assert len(partition) == report.counts["cells"]
    clusters, _ = read(report.path / "clusters.parquet")
    np.testing.assert_array_equal(clusters["cell"][columns["cluster"]], columns["cell"])
    assert set(columns["cluster"]) == set(range(report.counts["clusters"]))
    samples = open_source(recipe.source).scan().samples
    known = dict(zip(samples.ids, zip(samples.lat, samples.lon, strict=True), strict=True))
    assert [known[name] for name in columns["id"]] == list(zip(columns["lat"], columns["lon"], strict=True))


def test_counts_are_those_of_the_tables(surveyed):
    recipe, held_out, report = surveyed
    columns, _ = read(report.path / "positions.parquet")
    total = recipe.sample or 400
    assert report.counts["held_out"] == int(held_out * total)
    assert report.counts["positions"] == len(columns["id"]) == total - report.counts["held_out"]
    cells, _ = read(report.path / "cells.parquet")
    clusters, points = read(report.path / "clusters.parquet")
    np.testing.assert_array_equal(cells["n_members"], np.bincount(columns["cell"]))
    np.testing.assert_array_equal(clusters["n_members"], np.bincount(columns["cluster"]))
    per_cell = np.bincount(clusters["cell"])
    assert (report.counts["fewest_clusters"], report.counts["most_clusters"]) == (per_cell.min(), per_cell.max())
    assert report.counts["clusters"] == len(points)
    assert report.area_km2 == {
        "least": cells["area_km2"].min(), "median": np.median(cells["area_km2"]), "most": cells["area_km2"].max()
    }  # fmt: skip


def test_outlines_are_geometries_with_the_same_facts(surveyed):
    _, _, report = surveyed
    cells, outlines = read(report.path / "cells.parquet")
    document = json.loads((report.path / "cells.geojson").read_text("utf-8"))
    assert document["type"] == "FeatureCollection"
    assert len(document["features"]) == len(outlines) == report.counts["cells"]
    for row, (feature, outline) in enumerate(zip(document["features"], outlines, strict=True)):
        assert shapely.equals_exact(shapely.geometry.shape(feature["geometry"]), outline, tolerance=1e-6)
        assert feature["properties"]["cell"] == row == cells["cell"][row]
        for name in ("area_km2", "lat", "lon", "n_members", "radius_km", "spread_km", "site_lat", "site_lon"):
            assert feature["properties"][name] == cells[name][row]
    assert shapely.is_valid(outlines).all()
    positions, _ = read(report.path / "positions.parquet")
    if "parts" not in json.loads((report.path / "partition.json").read_text()):  # else a border lies between
        off = shapely.distance(outlines[positions["cell"]], shapely.points(positions["lon"], positions["lat"]))
        assert np.mean(off > 0.02) < 0.01


def test_report_is_that_of_the_file(surveyed):
    _, _, report = surveyed
    text = (report.path / "report.json").read_text("utf-8")
    assert "NaN" not in text
    assert json.loads(text) == json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(report.timings_s) == {"scan", "geocells and clusters", "measure", "write", "draw"}
    shown = report.to_text()
    assert f"positions: {report.counts['positions']:,}, cells: {report.counts['cells']:,}" in shown
    assert all(name in shown for name in (*report.files, *report.floors))


def test_sweep_is_a_table_of_the_settings(surveyed):
    recipe, _, report = surveyed
    with (report.path / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if recipe.geocells.method != "optics":
        assert rows == []
        assert report.chosen["setting"] == {}
        return
    tried = [(int(row["min_samples"]), float(row["xi"])) for row in rows]
    assert tried == [(size, xi) for size in (5, 10) for xi in (0.05, 0.1)]
    won = report.chosen["setting"]
    (row,) = [row for row, key in zip(rows, tried, strict=True) if key == (won["min_samples"], won["xi"])]
    assert int(row["n_clusters"]) == won["n_clusters"]
    assert float(row["silhouette"]) == won["silhouette"]
    assert all(math.isfinite(float(row["davies_bouldin"])) for row in rows)


def test_floors_are_those_of_the_tables(surveyed):
    _, _, report = surveyed
    positions, _ = read(report.path / "positions.parquet")
    cells, _ = read(report.path / "cells.parquet")
    _, points = read(report.path / "clusters.parquet")
    lat, lon = positions["lat"], positions["lon"]
    middle = geo.from_unit(geo.to_unit(cells["lat"], cells["lon"]).sum(axis=0))
    own = cells["lat"][positions["cell"]], cells["lon"][positions["cell"]]
    cluster = shapely.get_y(points)[positions["cluster"]], shapely.get_x(points)[positions["cluster"]]
    for name, answer in {"all cells": middle, "its cell": own, "its cluster": cluster}.items():
        assert numbers(report.floors[name]) == numbers_of(geo.haversine_km(lat, lon, *answer))
    assert report.floors["its cluster"].mean_km < report.floors["its cell"].mean_km < report.floors["all cells"].mean_km


def test_held_out_positions_are_only_measured_on(surveyed):
    recipe, held_out, report = surveyed
    names = {"held out: all cells", "held out: its cell", "held out: its cluster"}
    assert names & set(report.floors) == (names if held_out else set())
    if not held_out:
        return
    positions, _ = read(report.path / "positions.parquet")
    ids, lat, lon = others_of(recipe, positions["id"])
    assert len(ids) == report.counts["held_out"] == report.floors["held out: its cell"].count
    labels = labels_of(recipe, ids) if recipe.geocells.within else None
    partition = read_partition(json.loads((report.path / "partition.json").read_text("utf-8")))
    cell = partition.assign(lat, lon, labels)
    cells, _ = read(report.path / "cells.parquet")
    assert numbers(report.floors["held out: its cell"]) == numbers_of(
        geo.haversine_km(lat, lon, cells["lat"][cell], cells["lon"][cell])
    )
    own = labels_of(recipe, positions["id"]) if recipe.geocells.within else None
    divided = divide_positions(positions["lat"], positions["lon"], own, recipe)
    _, points = read(report.path / "clusters.parquet")
    cluster = divided.clusters.assign(lat, lon, cell)
    assert numbers(report.floors["held out: its cluster"]) == numbers_of(
        geo.haversine_km(lat, lon, shapely.get_y(points)[cluster], shapely.get_x(points)[cluster])
    )


def test_rows_that_are_no_positions_are_named_by_reason(surveyed):
    _, _, report = surveyed
    found = {reason: (entry["count"], entry["examples"]) for reason, entry in report.left_out.items()}
    assert found == {
        "position is missing": (2, ["hole", "none"]),
        "position is not a number": (1, ["word"]),
        "latitude is outside -90..90": (1, ["high"]),
        "longitude is outside -180..180": (1, ["far"]),
    }
    assert "left out 1: latitude is outside -90..90 (such as high)" in report.to_text()


def test_antipodes_have_no_middle_at_point_zero(tmp_path):
    rows = [(f"{n}", 0, 90 if n % 2 else -90, "") for n in range(40)]
    recipe = Recipe(source=str(write_table(tmp_path / "t.csv", rows, HEADER)), geocells=GeocellRecipe(n_cells=2))
    report = geoindex.survey_positions(recipe, tmp_path / "out")
    assert report.counts["cells"] == 2
    assert report.floors["its cell"].mean_km < 1e-6
    # half of them are where all cells are, and nobody is a quarter of the globe away from them
    assert report.floors["all cells"].accuracy["1"] == 50.0


def test_cells_of_another_source_are_drawn_without_its_walk(table, tmp_path):
    other = write_table(tmp_path / "other.csv", town_rows(300, seed=9), HEADER)
    geocells = GeocellRecipe(**QUICK, source=str(other))
    report = geoindex.survey_positions(Recipe(source=str(table), geocells=geocells), tmp_path / "out")
    assert "reachability.png" not in report.files
    positions, _ = read(report.path / "positions.parquet")
    assert set(positions["cell"]) == set(range(report.counts["cells"]))
    assert report.counts["positions"] == 400


class TestRefusals:
    """What cannot be surveyed is said before anything is written."""

    @pytest.mark.parametrize("share", [1.0, 1.5, -0.1, math.nan, math.inf])
    def test_a_share_that_is_none(self, table, tmp_path, share):
        with pytest.raises(ConfigError, match=f"A share of {share} cannot be held out; take 0 or more and less than 1"):
            geoindex.survey_positions(Recipe(source=str(table)), tmp_path / "out", share)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("rows", [[], BAD])
    def test_a_table_without_positions(self, tmp_path, rows):
        table = write_table(tmp_path / "t.csv", rows, HEADER)
        with pytest.raises(EmptyDatasetError):
            geoindex.survey_positions(Recipe(source=str(table)), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_folder_that_is_a_file_is_found_before_the_work(self, table, tmp_path, monkeypatch):
        (tmp_path / "out").write_text("mine")
        monkeypatch.setattr("geoindex.survey.divide_positions", None)
        for folder in (tmp_path / "out", tmp_path / "out" / "inner"):
            with pytest.raises(StorageError, match="change its permissions or choose another place"):
                geoindex.survey_positions(Recipe(source=str(table)), folder)
        assert (tmp_path / "out").read_text() == "mine"

    def test_a_label_that_nobody_has(self, table, tmp_path):
        for within, match in (("author", "take one of country, region, city"), ("planet", "choose one of country")):
            recipe = Recipe(source=str(table), geocells=GeocellRecipe(within=within))
            with pytest.raises(ConfigError, match=match):
                geoindex.survey_positions(recipe, tmp_path / "out")
