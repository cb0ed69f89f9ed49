"""Right country, region, sub-region, city: by named places, and by polygons."""

import json

import numpy as np
import pytest

from geoindex.errors import ConfigError
from geoindex.evaluation.breakdown import Origins, parts_of
from geoindex.evaluation.continents import CONTINENTS
from geoindex.evaluation.regions import Gazetteer, Polygons
from geoindex.metrics import GEOINDEX
from geoindex.places import named_places

PARIS, LYON, NEW_YORK, FIJI = (48.8566, 2.3522), (45.7640, 4.8357), (40.7143, -74.0060), (-16.8, 179.99)


def positions(*points):
    lat, lon = np.array(points, float).T
    return lat, lon


def square(west, south, side=10):
    ring = [[west, south], [west + side, south], [west + side, south + side], [west, south + side], [west, south]]
    return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def write_polygons(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def test_levels_nest():
    keys = Gazetteer.own().keys(*positions(PARIS, LYON, NEW_YORK))
    assert keys["country"].tolist() == ["FR", "FR", "US"]
    assert keys["region"].tolist()[2] == "New York_US"
    assert keys["city"].tolist()[2].startswith("New York City_")
    assert keys["city"].tolist()[2].endswith("_New York_US")


def test_hits_of_every_level():
    hits = Gazetteer.own().hits(positions(PARIS, PARIS, FIJI), positions(PARIS, LYON, PARIS))
    assert hits["country"].tolist() == [100, 100, 0]
    assert hits["region"].tolist() == [100, 0, 0]
    assert hits["city"][:2].tolist() == [100, 0]


def test_a_truth_without_a_region_is_left_out(tmp_path):
    table = tmp_path / "cities.csv"
    table.write_text("lat,lon,name,admin1,admin2,cc\n0,0,Null,,,XX\n0,10,Ten,One,Two,XX\n")
    hits = Gazetteer.read(table).hits(positions((0, 1), (0, 9)), positions((0, 1), (0, 1)))
    np.testing.assert_array_equal(hits["region"], [np.nan, 0])
    np.testing.assert_array_equal(hits["country"], [100, 100])


def test_a_table_of_osv5m_compares_degrees_as_a_plane(tmp_path):
    table = tmp_path / "cities.csv"
    table.write_text("lat,lon,name,admin1,admin2,cc\n60,0,West,A,,XX\n63.5,7,North,B,,XX\n")
    gazetteer = Gazetteer.read(table)
    assert gazetteer.keys(*positions((60, 6)))["city"].tolist() == ["North__B_XX"]  # on the sphere West is nearer
    assert Gazetteer(gazetteer.name, gazetteer.places).keys(*positions((60, 6)))["city"].tolist() == ["West__A_XX"]


@pytest.mark.parametrize("text", ["", "lat,lon\n1,2\n", "lat,lon,name,admin1,admin2,cc\nx,2,a,b,c,d\n"])
def test_another_table_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError, match="columns lat, lon, name, admin1, admin2, cc"):
        Gazetteer.read(tmp_path / "t.csv")


def test_polygons(tmp_path):
    polygons = Polygons.read(write_polygons(tmp_path / "two.geojson", square(0, 0), square(10, 0)))
    assert polygons.locate(*positions((5, 5), (5, 15), (50, 50))).tolist() == [0, 1, -1]
    hits = polygons.hits(positions((5, 5), (5, 5), (5, 5), (50, 50)), positions((1, 1), (5, 15), (50, 50), (50, 50)))
    np.testing.assert_array_equal(hits, [100, 0, 0, np.nan])  # an answer at sea is wrong, a truth at sea no question


@pytest.mark.parametrize("text", ["no json", "{}", '{"features": []}'])
def test_what_has_no_polygons_is_refused(tmp_path, text):
    (tmp_path / "x.geojson").write_text(text)
    with pytest.raises(ConfigError, match=r"give a GeoJSON file[^\n]*\.$"):
        Polygons.read(tmp_path / "x.geojson")


def test_every_country_has_a_continent():
    assert set(named_places().country_code) <= set(CONTINENTS)
    assert (CONTINENTS["FR"], CONTINENTS["FJ"], CONTINENTS["BR"]) == ("Europe", "Oceania", "South America")


def test_parts_are_ordered_by_their_queries():
    origins = Origins.of(*positions(NEW_YORK, PARIS, LYON, FIJI))
    parts = parts_of(np.array([1.0, 10, 30, 100]), origins.country, GEOINDEX)
    assert (parts[0].name, parts[0].metrics.count) == ("France", 2)
    assert (parts[0].low.mean_km, parts[0].metrics.mean_km, parts[0].high.mean_km) == (10, 20, 30)
    assert {part.name for part in parts_of(np.ones(4), origins.continent, GEOINDEX)} == {
        "Europe", "North America", "Oceania",
    }  # fmt: skip
