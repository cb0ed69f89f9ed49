"""Queries that look at a part: inside a region, at fewer cells, and at the stored images."""

import json

import numpy as np
import pytest
from tiles import HUBS, PHOTOS, error_km

from geoindex.errors import ConfigError
from geoindex.geo import haversine_km
from geoindex.search.region import Box, Cells, Country, parse_region

EUROPE = {"type": "Polygon", "coordinates": [[[-10, 36], [30, 36], [30, 70], [-10, 70], [-10, 36]]]}


class Shape:
    __geo_interface__ = EUROPE


@pytest.fixture
def area(tmp_path):
    path = tmp_path / "europe.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": EUROPE}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


@pytest.mark.parametrize("rule", ["nearest", "posterior", "distance", "score"])
@pytest.mark.parametrize("within", ["36,-10,70,30", (36, -10, 70, 30), EUROPE, Shape(), "file", "text file"])
def test_every_answer_lies_inside(index, area, within, rule):
    within = {"file": area, "text file": str(area)}.get(within, within) if isinstance(within, str) else within
    answer = index.query_image(PHOTOS[5], within=within, rule=rule)  # a photo of Japan
    assert 36 <= answer.lat <= 70
    assert -10 <= answer.lon <= 30
    assert all(36 <= c.lat <= 70 and -10 <= c.lon <= 30 for c in answer.candidates)
    assert {e.id[:2] for e in answer.evidence} == {"nl"}
    assert error_km(answer, HUBS["nl"]) < 1500


def test_probabilities_are_those_inside(index):
    free = index.query_image(PHOTOS[5], top_k=500, top_cells=500)
    inside = index.query_image(PHOTOS[5], top_k=500, top_cells=500, within=EUROPE)
    assert sum(c.probability for c in inside.candidates) == pytest.approx(1, abs=1e-5)
    before = {c.cluster: c.probability for c in free.candidates}
    assert set(before) > {c.cluster for c in inside.candidates}
    assert all(c.probability > before[c.cluster] for c in inside.candidates)


def test_a_box_may_cross_the_antimeridian(index):
    answer = index.query_image(PHOTOS[0], within="50,140,75,-100")  # a photo of the Netherlands
    assert error_km(answer, HUBS["ak"]) < 1500


@pytest.mark.parametrize("name", ["Netherlands", "netherlands", "NL", "nl"])
def test_a_country_is_known_by_name_and_letters(index, name):
    answer = index.query_image(PHOTOS[5], within=name, top_k=500)
    assert answer.place.endswith(", Netherlands")
    assert {c.place.rpartition(", ")[2] for c in answer.candidates} == {"Netherlands"}


def test_cells_are_known_by_number(index):
    cell = index.query_image(PHOTOS[0]).candidates[0].cell
    answer = index.query_image(PHOTOS[5], within=f"cells:{cell}", top_k=500)
    assert {c.cell for c in answer.candidates} == {cell}
    assert index.query_image(PHOTOS[5], within=Cells((cell,))).candidates[0].cell == cell
    with pytest.raises(ConfigError, match=r"The index has no cell 9999; its cells are 0 to \d+"):
        index.query_image(PHOTOS[0], within="cells:9999")


def test_a_region_without_photos_is_refused(index):
    with pytest.raises(ConfigError, match="No photo of the index lies in within="):
        index.query_image(PHOTOS[0], within="-60,-20,-50,-10")


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("Atlantis", "within='Atlantis' is no region; give south,west"),
        ("", "within='' is no region"),
        ("1,2,3,x", "within has 'x' where a number should be"),
        ("50,0,40,10", "is no box; give south,west,north,east"),
        ("0,0,10,200", "is no box"),
        ("0,5,10,5", "is no box"),
        ("nan,0,10,5", "is no box"),
        ("none.geojson", "cannot be read"),
        (7, "within=7 is no region"),
        ([1, 2, 3], "is no region"),
        ({"type": "Point", "coordinates": [0, 0]}, "has no polygons but a Point"),
        ({"type": "Polygon"}, "cannot be read"),
        ({"type": "Feature"}, "cannot be read"),
        ({}, "cannot be read"),
    ],
)
def test_what_is_no_region_is_refused_with_the_cure(index, within, message):
    with pytest.raises(ConfigError, match=message):
        index.query_image(PHOTOS[0], within=within)


def test_regions_are_read_once():
    assert parse_region("1, 2, 3, 4") == Box(1, 2, 3, 4) == parse_region(Box(1, 2, 3, 4))
    assert parse_region("fr") == Country("France") == parse_region("france")
    assert parse_region(EUROPE) == parse_region(Shape())
    assert hash(parse_region(EUROPE)) == hash(parse_region(Shape()))


def test_many_regions_are_forgotten_again(index):
    for east in range(10, 40):
        index.query_image(PHOTOS[0], within=(36, -10, 70, east))
    assert 1 <= len(index.searcher.inside) <= 8


def test_fewer_cells_are_probed_where_they_hold_the_mass(index):
    every = index.query_image(PHOTOS[0], top_k=500, top_cells=500)
    few = index.query_image(PHOTOS[0], top_k=500, top_cells=500, top_p=0.2)
    assert {c.cell for c in few.candidates} < {c.cell for c in every.candidates}
    assert few.candidates[0] == every.candidates[0]
    for wrong in (0, 1.5, -1):
        with pytest.raises(ConfigError, match=r"top_p is .*; it must be above 0 and at most 1"):
            index.query_image(PHOTOS[0], top_p=wrong)


def test_images_move_a_candidate_towards_those_most_like_the_query(index):
    gallery = index.searcher.sidecar.gallery
    queries = gallery.vectors(np.arange(0, len(gallery), 7)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    lat, lon = gallery.places(np.arange(0, len(gallery), 7))
    plain = index.query_embeddings(queries, rule="posterior", top_cells=500)
    refined = index.query_embeddings(queries, rule="posterior", top_cells=500, refine="images")
    moved = 0
    for place, before, after in zip(zip(lat, lon, strict=True), plain, refined, strict=True):
        assert [c.cluster for c in after.candidates] == [c.cluster for c in before.candidates]
        assert [c.probability for c in after.candidates] == [c.probability for c in before.candidates]
        first, then = before.candidates[0], after.candidates[0]
        if first.n_images == 1:
            assert haversine_km(first.lat, first.lon, then.lat, then.lon) < 1e-3
            continue
        assert haversine_km(first.lat, first.lon, then.lat, then.lon) <= first.radius_km + 1e-6
        moved += haversine_km(*place, then.lat, then.lon) < haversine_km(*place, first.lat, first.lon)
    assert moved > 0


def test_an_unknown_refinement_is_refused(index):
    with pytest.raises(ConfigError, match="refine is 'stars'; it must be 'images' or None"):
        index.query_image(PHOTOS[0], refine="stars")
