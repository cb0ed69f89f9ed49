import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from geoindex import geo
from geoindex.errors import ConfigError, CoordinateError
from geoindex.geocells.export import write_geojson, write_geoparquet, write_points_geoparquet
from geoindex.geocells.outlines import Regions, regions_of
from geoindex.geocells.voronoi import voronoi_polygons

SITES = {
    "one": ([5.0], [5.0]),
    "two": ([5.0, -60.0], [5.0, 120.0]),
    "random": geo.from_unit(np.random.default_rng(0).normal(size=(60, 3))),
    "around the antimeridian": ([-17.0, -18.0, -16.0, -20.0, 40.0], [179.0, -179.0, 180.0, -178.0, 0.0]),
    "around a pole": ([90.0, 89.0, 88.0, 88.5, -10.0], [0.0, 10.0, 130.0, -110.0, 180.0]),
    "city": ([48.0, 48.0001, 48.0, 47.9999, 48.0003], [2.0, 2.0, 2.0001, 2.0, 2.0003]),
}
NOTHING = Regions((), np.empty(0))


def regions(name: str) -> Regions:
    return regions_of(voronoi_polygons(*SITES[name]))


def with_an_empty_cell() -> Regions:
    return regions_of(voronoi_polygons([50.0, 50.0, -10.0, 0.0], [0.0, 0.0, 180.0, 90.0]))


def read(path) -> tuple[dict, dict, list]:
    """Columns, metadata and geometries of a GeoParquet file."""
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"geo"])
    return table.drop_columns("geometry").to_pydict(), facts, shapely.from_wkb(table["geometry"].to_pylist()).tolist()


def equal_area_km2(geometry) -> float:
    """Area of a geometry of degrees on the cylinder that keeps areas (Archimedes)."""

    def flattened(degrees):
        lon, lat = np.radians(degrees.T)
        return np.column_stack([lon, np.sin(lat)]) * geo.EARTH_RADIUS_KM

    return shapely.area(shapely.transform(geometry, flattened))


@pytest.mark.parametrize("name", list(SITES))
def test_geoparquet_has_valid_geometries_of_the_right_areas(tmp_path, name):
    write_geoparquet(tmp_path / "a.parquet", regions(name), {})
    columns, _, geometries = read(tmp_path / "a.parquet")
    assert [shapely.is_valid_reason(geometry) for geometry in geometries] == ["Valid Geometry"] * len(SITES[name][0])
    assert [equal_area_km2(geometry) for geometry in geometries] == pytest.approx(columns["area_km2"], rel=5e-3)
    assert sum(geometry.area for geometry in geometries) == pytest.approx(360.0 * 180.0, rel=1e-9)
    assert shapely.union_all(geometries).area == pytest.approx(360.0 * 180.0, rel=1e-9)


@pytest.mark.parametrize("name", list(SITES))
def test_geoparquet_rings_are_anticlockwise_and_stay_on_one_side_of_the_antimeridian(tmp_path, name):
    write_geoparquet(tmp_path / "a.parquet", regions(name), {})
    for ring in shapely.get_exterior_ring(shapely.get_parts(read(tmp_path / "a.parquet")[2])):
        degrees = shapely.get_coordinates(ring)
        assert shapely.is_ccw(ring)
        assert np.abs(degrees[:, 0]).max() <= 180.0
        assert np.abs(np.diff(degrees[:, 0])).max() <= 90.0


def test_geoparquet_metadata_follow_the_specification(tmp_path):
    write_geoparquet(tmp_path / "a.parquet", regions("around the antimeridian"), {})
    assert read(tmp_path / "a.parquet")[1] == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["MultiPolygon", "Polygon"],
                "edges": "planar",
                "orientation": "counterclockwise",
                "bbox": [-180.0, -90.0, 180.0, 90.0],
            }
        },
    }


def test_geoparquet_names_the_types_and_the_box_that_are_there(tmp_path):
    ring = np.array([[1.0, 2.0], [4.0, 2.0], [4.0, 5.5], [1.0, 2.0]])
    write_geoparquet(tmp_path / "a.parquet", Regions(([], [ring]), np.array([0.0, 7.0])), {})
    about = read(tmp_path / "a.parquet")[1]["columns"]["geometry"]
    assert (about["geometry_types"], about["bbox"]) == (["Polygon"], [1.0, 2.0, 4.0, 5.5])


def test_geoparquet_keeps_columns_beside_cell_and_area(tmp_path):
    given = with_an_empty_cell()
    facts = {"n": np.array([3, 0, 4, 5], np.int32), "error": [1.5, np.nan, 0.5, 2.0], "name": ["a", "b", "ć", ""]}
    write_geoparquet(tmp_path / "a.parquet", given, facts)
    columns, _, geometries = read(tmp_path / "a.parquet")
    assert list(columns) == ["cell", "area_km2", "n", "error", "name"]
    assert columns["cell"] == [0, 1, 2, 3]
    assert columns["area_km2"] == given.area_km2.tolist()
    assert (columns["n"], columns["name"]) == ([3, 0, 4, 5], ["a", "b", "ć", ""])
    np.testing.assert_array_equal(columns["error"], facts["error"])
    assert [geometry is None for geometry in geometries] == [False, True, False, False]


def test_geoparquet_pieces_belong_to_their_cells(tmp_path):
    rings = [np.array([[x, 0.0], [x + 1.0, 0.0], [x, 1.0], [x, 0.0]]) for x in (0.0, 10.0, 20.0, 30.0, 40.0)]
    given = Regions(([rings[0], rings[1]], [], [rings[2]], [rings[3], rings[4]]), np.ones(4))
    write_geoparquet(tmp_path / "a.parquet", given, {})
    geometries = read(tmp_path / "a.parquet")[2]
    starts = [shapely.get_parts(g).tolist() if g else [] for g in geometries]
    assert [[part.bounds[0] for part in parts] for parts in starts] == [[0.0, 10.0], [], [20.0], [30.0, 40.0]]
    assert [g and g.geom_type for g in geometries] == ["MultiPolygon", None, "Polygon", "MultiPolygon"]


def test_files_of_no_cells(tmp_path):
    write_geoparquet(tmp_path / "a.parquet", NOTHING, {"n": []})
    write_geojson(tmp_path / "a.geojson", NOTHING, {"n": []})
    write_points_geoparquet(tmp_path / "b.parquet", [], [], {"n": []})
    assert read(tmp_path / "a.parquet")[0] == {"cell": [], "area_km2": [], "n": []}
    assert "bbox" not in read(tmp_path / "b.parquet")[1]["columns"]["geometry"]
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []


def test_geojson_has_a_feature_a_cell_with_its_facts(tmp_path):
    facts = {"n": np.array([3, 0, 4, 5]), "error": [1.5, np.nan, np.inf, 2.0], "name": ["a", "b", "ć", ""]}
    write_geojson(tmp_path / "a.geojson", with_an_empty_cell(), facts)
    text = (tmp_path / "a.geojson").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    document = json.loads(text)
    assert document["type"] == "FeatureCollection"
    properties = [feature["properties"] for feature in document["features"]]
    assert list(properties[0]) == ["cell", "area_km2", "n", "error", "name"]
    assert [row["error"] for row in properties] == [1.5, None, None, 2.0]
    assert [(row["cell"], row["n"], row["name"]) for row in properties] == [
        (0, 3, "a"), (1, 0, "b"), (2, 4, "ć"), (3, 5, "")
    ]  # fmt: skip
    assert [feature["geometry"] is None for feature in document["features"]] == [False, True, False, False]


@pytest.mark.parametrize("name", list(SITES))
def test_both_formats_hold_the_same_outlines(tmp_path, name):
    write_geoparquet(tmp_path / "a.parquet", regions(name), {})
    write_geojson(tmp_path / "a.geojson", regions(name), {})
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    for feature, geometry in zip(features, read(tmp_path / "a.parquet")[2], strict=True):
        assert shapely.equals_exact(shapely.geometry.shape(feature["geometry"]), geometry, tolerance=1e-7)


def test_points_keep_position_and_columns(tmp_path):
    facts = {"cluster": np.arange(3), "name": ["a", "b", "c"]}
    write_points_geoparquet(tmp_path / "p.parquet", [48.0, -10.0, 90.0], [2.0, -180.0, 70.0], facts)
    columns, about, points = read(tmp_path / "p.parquet")
    assert columns == {"cluster": [0, 1, 2], "name": ["a", "b", "c"]}
    assert [(point.x, point.y) for point in points] == [(2.0, 48.0), (180.0, -10.0), (0.0, 90.0)]
    geometry = {"encoding": "WKB", "geometry_types": ["Point"], "bbox": [0.0, -10.0, 180.0, 90.0]}
    assert about["columns"] == {"geometry": geometry}


def write_points(path, given, columns):
    write_points_geoparquet(path, np.zeros(len(given)), np.zeros(len(given)), columns)


@pytest.mark.parametrize("write", [write_geojson, write_geoparquet, write_points])
@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4, 5, 6], 7, np.zeros((5, 1))])
def test_columns_of_another_length_are_refused(tmp_path, write, values):
    with pytest.raises(ConfigError, match=r"'n'.*for 5 rows; pass one value a row"):
        write(tmp_path / "a", regions("city"), {"ok": np.zeros(5), "n": values})
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["cell", "area_km2", "geometry"])
@pytest.mark.parametrize("write", [write_geojson, write_geoparquet])
def test_names_that_are_taken_are_refused(tmp_path, write, name):
    with pytest.raises(ConfigError, match="another name"):
        write(tmp_path / "a", regions("city"), {name: np.zeros(5)})


def test_points_off_the_earth_are_refused(tmp_path):
    with pytest.raises(CoordinateError):
        write_points_geoparquet(tmp_path / "a", [95.0], [0.0], {})


@pytest.mark.parametrize("write", [write_geojson, write_geoparquet, write_points])
def test_a_folder_that_does_not_exist_is_an_os_error(tmp_path, write):
    with pytest.raises(OSError, match="missing"):
        write(tmp_path / "missing" / "a", regions("city"), {})
