import json
from dataclasses import replace

import numpy as np
import pytest

from geoindex.prediction import WITHHELD, Candidate, Prediction
from geoindex.server.page.ground import NAMED, largest_places, world_geojson
from geoindex.server.page.layers import answer_layers, index_layers, legend_of, regions_of, shares_of


def candidate(rank, cell, probability):
    return Candidate(rank, 48.0, 16.0, probability, 0.3, cell, rank, 10, 20.0, "Vienna, Austria")


ANSWER = Prediction(
    48.0, 16.0, "Vienna, Austria", 0.6, 120.0, "distance",
    (candidate(1, 3, 0.3), candidate(2, 1, 0.25), candidate(3, 3, 0.1)),
    radius50_km=140.0, radius90_km=900.0, locatability=0.6,
)  # fmt: skip


@pytest.fixture(scope="module")
def regions(index):
    return regions_of(index.snapshot)


def test_a_cell_has_the_probability_of_its_candidates():
    assert [(s.cell, s.probability) for s in shares_of(ANSWER)] == [(3, pytest.approx(0.4)), (1, pytest.approx(0.25))]


def test_withheld_cells_are_not_drawn(regions):
    blurred = replace(ANSWER, candidates=(candidate(1, WITHHELD, 0.3),))
    assert answer_layers(blurred, regions, 8)["cells"] == []
    assert answer_layers(ANSWER, None, 8)["cells"] == []


def test_an_answer_has_circles_candidates_and_cells(regions):
    layers = answer_layers(ANSWER, regions, 2)
    assert json.loads(json.dumps(layers, allow_nan=False)) == layers
    assert [circle["kind"] for circle in layers["circles"]] == ["most", "half"]
    assert [each["rank"] for each in layers["candidates"]] == [1, 2]
    assert [cell["cell"] for cell in layers["cells"]] == [3, 1]
    (south, west), (north, east) = layers["view"]
    assert south < 48.0 < north
    assert west < 16.0 < east


def test_cells_are_drawn_as_latitude_and_longitude(index, regions):
    sidecar = index.searcher.sidecar
    lat, lon = (np.asarray(sidecar.cells.numbers(f"site_{axis}")) for axis in ("lat", "lon"))
    rings = answer_layers(ANSWER, regions, 2)["cells"][0]["rings"]
    lats, lons = np.concatenate([np.array(ring) for ring in rings]).T
    assert lats.min() <= lat[3] <= lats.max()
    assert lons.min() <= lon[3] <= lons.max()


def test_where_it_could_be_anywhere_no_circle_pretends_otherwise(regions):
    layers = answer_layers(replace(ANSWER, locatability=0.0), regions, 2)
    assert (layers["circles"], layers["view"]) == ([], None)


def test_the_legend_explains_what_is_drawn(regions):
    layers = answer_layers(ANSWER, regions, 2)
    assert "truth of half" in legend_of(layers, calibrated=True)
    assert "half of the probability" in legend_of(layers, calibrated=False)
    assert "cell-key" not in legend_of(layers | {"cells": []}, calibrated=True)


def test_the_index_shows_all_cells_and_counts(index, regions):
    layers = index_layers(index.snapshot, regions)
    counts = index.manifest.counts
    assert len(layers["cells"]) == counts["cells"]
    assert sum(cell["images"] for cell in layers["cells"]) == counts["gallery"]
    assert sum(images for _, _, images in layers["clusters"]) == counts["gallery"]
    assert sum(cell["area_km2"] for cell in layers["cells"]) == pytest.approx(510_064_472, rel=1e-4)


def test_the_ground_is_land_lakes_and_borders():
    features = world_geojson()["features"]
    assert [feature["properties"]["kind"] for feature in features] == ["land", "lakes", "borders"]
    lons = [lon for polygon in features[0]["geometry"]["coordinates"] for lon, _ in polygon[0]]
    assert -180.0 <= min(lons) < -170.0 < 170.0 < max(lons) <= 180.0


def test_the_largest_places_come_first():
    places = largest_places()
    assert len(places) == NAMED
    assert {"Tokyo", "Shanghai", "Delhi", "São Paulo"} & {name for name, _, _ in places[:30]}
