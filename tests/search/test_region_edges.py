"""Regions where they are easily wrong: the antimeridian, the poles, cells inside in part, clusters without photos."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import DIM, World, unit

import geoindex
from geoindex.errors import ConfigError
from geoindex.places import named_places
from geoindex.search.posterior import Geography, Ranker, Scales
from geoindex.search.region import Area, Box, Cells, Country, parse_region

LAT = np.array([0.0, 0.0, 0.0, 0.0, 90.0, -90.0])
LON = np.array([-180.0, 180.0, 175.0, -175.0, 0.0, 60.0])


def ring(west, south, east, north):
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [corners]}


def inside(region):
    return parse_region(region).contains(LAT, LON).tolist()


def test_the_antimeridian_has_two_longitudes():
    assert inside("-10,170,10,180") == [True, True, True, False, False, False]
    assert inside("-10,-180,10,-170") == [True, True, False, True, False, False]
    assert inside("-10,178,10,-178") == [True, True, False, False, False, False]
    assert inside(ring(170, -10, 180, 10)) == [True, True, True, False, False, False]
    assert inside(ring(-180, -10, -170, 10)) == [True, True, False, True, False, False]


def test_every_meridian_meets_a_pole():
    assert inside("80,10,90,20") == [False] * 4 + [True, False]
    assert inside("-90,10,-80,20") == [False] * 5 + [True]


@pytest.mark.parametrize("area", [ring(160, -10, 210, 10), ring(-200, -10, -150, 10)])
def test_polygons_may_go_on_over_the_antimeridian(area):
    assert inside(area) == [True] * 4 + [False] * 2


@pytest.mark.parametrize("area", [ring(0, 80, 10, 100), ring(0, -10, 400, 10)])
def test_polygons_that_are_on_no_earth_are_refused(area):
    with pytest.raises(ConfigError, match="give degrees, longitude first"):
        parse_region(area)


def test_a_feature_without_a_geometry_has_no_place():
    features = [{"type": "Feature", "geometry": shape} for shape in (None, ring(170, -10, 180, 10))]
    assert isinstance(parse_region({"type": "FeatureCollection", "features": features}), Area)
    with pytest.raises(ConfigError, match="has no polygons"):
        parse_region({"type": "FeatureCollection", "features": features[:1]})


def test_numbers_of_cells_have_a_length():
    assert parse_region("cells:1, 2") == Cells((1, 2))
    for text in ("cells:" + "9" * 5000, "cells:\N{ARABIC-INDIC DIGIT ONE}"):
        with pytest.raises(ConfigError, match="is no region"):
            parse_region(text)


def test_a_region_is_named_in_a_few_words():
    circle = [[170 + 9 * np.cos(a), 9 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 2001)]
    round_one = parse_region({"type": "Polygon", "coordinates": [circle]})
    assert str(round_one) == "polygons from -9,161 to 9,179"
    assert str(Box(-10.0, 170.0, 10.0, -178.5)) == "-10,170,10,-178.5"
    assert str(Cells(tuple(range(9)))) == "cells:0,1,2,3,4,..."
    assert str(Country("Monaco")) == "Monaco"


def test_every_place_ends_in_its_country():
    places = named_places()
    for row in range(len(places)):
        name, country = places.name(row), places.country[row]
        assert name == country or name.endswith(f", {country}")


@pytest.fixture(scope="module")
def moved():
    """A world whose cells are inside in part: of all but the first, one cluster with one photo."""
    world = World(2)
    images, within = np.full(len(world.cell_of), 1000), np.ones(len(world.cell_of), bool)
    for cell in range(1, 9):
        members = np.flatnonzero(world.cell_of == cell)
        images[members[0]] = 1
        within[members[1:]] = False
    world.geography = counted(world, images)
    return world, within


def counted(world, images):
    return replace(world.geography, images=images, cell_images=np.bincount(world.cell_of, images).astype(int))


@pytest.mark.parametrize("prior", [True, False])
def test_what_says_nothing_has_no_locatability_where_cells_are_inside_in_part(moved, prior):
    world, within = moved
    (nothing,) = world.rank(Scales(prior=prior), np.zeros((1, DIM), np.float32), 2, inside=within)
    assert nothing.locatability == pytest.approx(0, abs=1e-4)


def test_clusters_without_photos_move_no_cell():
    world = World(2)
    images = world.images.copy()
    images[np.flatnonzero(world.cell_of == 3)[0]] = 0
    geography: Geography = counted(world, images)
    everywhere = Ranker.of(world.ann, geography, Scales(), images > 0).geography
    np.testing.assert_array_equal(everywhere.cell_lat, geography.cell_lat)
    np.testing.assert_array_equal(everywhere.cell_lon, geography.cell_lon)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "planted"
    return geoindex.open_index(geoindex.build_index("planted:2000?dim=16&seed=1", out=path).path)


def test_refined_answers_stay_inside(planted):
    gallery = planted.searcher.sidecar.gallery
    queries = unit(np.random.default_rng(0), 40, 16) * 0.2 + gallery.vectors(np.arange(40)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    moved = 0
    for east in range(0, 40, 4):
        asked = {"within": (35.0, -10.0, 60.0, float(east) + 0.5), "rule": "posterior"}
        for plain, refined in zip(
            planted.query_embeddings(queries, **asked),
            planted.query_embeddings(queries, refine="images", **asked),
            strict=True,
        ):
            assert all(35 <= c.lat <= 60 and -10 <= c.lon <= east + 0.5 for c in refined.candidates)
            moved += (plain.lat, plain.lon) != (refined.lat, refined.lon)
    assert moved > 100
