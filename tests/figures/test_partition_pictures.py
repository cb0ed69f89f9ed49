import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geoindex.figures import draw_cells, draw_partition
from geoindex.figures.partition import area_edges, borders, count_edges
from geoindex.figures.worldmap import ANSWER, LAND, SEA
from geoindex.geocells.outlines import flat_pieces
from geoindex.geocells.voronoi import voronoi_polygons


def picture_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def box(west, east, south, north):
    """Return a closed ring of (lon, lat) with a point every few degrees."""
    t = np.linspace(0.0, 1.0, 9)[:-1, None]
    corners = np.array([(west, south), (east, south), (east, north), (west, north)], float)
    sides = [a + (b - a) * t for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    return np.concatenate([*sides, corners[:1]])


OCTANTS = [[box(lon, lon + 90, *lats)] for lats in ((-90, 0), (0, 90)) for lon in range(-180, 180, 90)]
MAP = (slice(110, 600), slice(60, 1540))  # of a page with the usual part of the world


def at(lat, lon):
    """Return row and column of a position on a map from 58 degrees south to 84 north."""
    return round(95 + (84 - lat) * 0.94 * 1600 / 360), round(48 + (lon + 180) * 0.94 * 1600 / 360)


def partition(pieces, counts, path, lat=(), lon=()):
    return picture_of(draw_partition(pieces, lat, lon, counts, path, title="T"))


def test_borders_of_cells_are_drawn_and_the_cut_is_not(tmp_path):
    plain = partition([], [], tmp_path / "a.png")
    row = np.abs(partition(OCTANTS, [0] * 8, tmp_path / "b.png") - plain)[at(-57, 0)[0]].max(axis=-1) > 20
    starts = np.flatnonzero(np.diff(row.astype(int), prepend=0) == 1)
    assert starts.tolist() == pytest.approx([at(0, lon)[1] for lon in (-90, 0, 90)], abs=2)


def test_cell_over_the_antimeridian_draws_nothing_across_the_map(tmp_path):
    pieces = [[box(160, 180, -20, 10), box(-180, -170, -20, 10)]]
    change = np.abs(partition(pieces, [0], tmp_path / "a.png") - partition([], [], tmp_path / "b.png")).max(axis=-1)
    seen = np.flatnonzero((change[MAP] > 20).any(axis=0)) + MAP[1].start
    west, east = at(0, -169.5)[1], at(0, 159.5)[1]
    assert seen[seen < 800].max() <= west
    assert seen[seen > 800].min() >= east


@pytest.mark.parametrize("ring", [box(160, 180, -20, 10), box(-180, -170, -20, 10), box(-180, 180, 60, 90)])
def test_borders_leave_out_the_edge_of_the_map(ring):
    lines = borders(ring)
    steps = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])
    assert not (np.abs(steps[:, :, 0]) == 180).all(axis=1).any()
    assert not (np.abs(steps[:, :, 1]) == 90).all(axis=1).any()
    inside = np.abs(ring[:, 0]) < 180
    assert {tuple(point) for point in ring[inside & (ring[:, 1] < 90)]} <= {tuple(p) for line in lines for p in line}


def test_borders_of_an_inner_cell_are_its_ring_and_of_the_whole_earth_none():
    ring = box(10, 20, 30, 40)
    assert [line.tolist() for line in borders(ring)] == [ring.tolist()]
    assert borders(box(-180, 180, -90, 90)) == []


def test_cells_with_more_positions_are_darker_and_empty_ones_are_land(tmp_path):
    halves = [[box(-180, 0, -90, 90)], [box(0, 180, -90, 90)]]
    brazil, niger, sea = at(-8, -55), at(18, 10), at(-20, -20)
    few_west = partition(halves, [1, 1000], tmp_path / "a.png")
    assert few_west[brazil].sum() > few_west[niger].sum() + 200
    few_east = partition(halves, [1000, 1], tmp_path / "b.png")
    assert few_east[niger].sum() > few_east[brazil].sum() + 200
    empty = partition(halves, [0, 5], tmp_path / "c.png")
    assert np.abs(empty[brazil] - rgb(LAND)).max() < 5
    assert np.abs([page[sea] - rgb(SEA) for page in (few_west, few_east, empty)]).max() < 5


def test_centroids_are_dots(tmp_path):
    page = partition([[box(-180, 180, -90, 90)]], [1], tmp_path / "a.png", [-20.0], [-30.0])
    assert np.abs(page[at(-20, -30)] - rgb(ANSWER)).max() < 25


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_real_cells_make_small_files(tmp_path, count):
    random = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(random.uniform(-1, 1, count))), random.uniform(-180, 180, count)
    pieces = [flat_pieces(ring) for ring in voronoi_polygons(lat, lon).rings]
    path = draw_partition(pieces, lat, lon, random.integers(0, 500, count), tmp_path / "a.png")
    assert picture_of(path).shape[1] == 1600
    assert path.stat().st_size < 400_000


def test_partition_refuses_counts_of_other_cells(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        draw_partition(OCTANTS, [], [], [1.0], tmp_path / "a.png")


sizes = {
    "one": ([5], [5.1e8]),
    "none": ([], []),
    "empty": ([0, 0], [0.0, 0.0]),
    "some empty": ([5, 0, 0, 7], [5.1e8, 0.0, 3.0, 3.0]),
    "equal": ([3, 3, 3], [1e-9, 1e-9, 1e-9]),
}


@pytest.mark.parametrize("cells", sizes.values(), ids=sizes)
def test_any_cells(tmp_path, cells):
    path = draw_cells(*cells, tmp_path / "a.png")
    assert picture_of(path).shape == (700, 1600, 3)
    assert path.stat().st_size < 400_000


def test_cells_without_positions_are_told(tmp_path):
    full, empty = (picture_of(draw_cells([5, n, 7], [1, 1, 1], tmp_path / f"{n}.png", title="T")) for n in (7, 0))
    label = (slice(635, 680), slice(100, 760))
    assert (empty[label] < 128).all(axis=-1).sum() > 1.5 * (full[label] < 128).all(axis=-1).sum()


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_edges_hold_every_count(counts):
    values = np.array(counts, float)
    edges = count_edges(values)
    assert (edges % 1 == 0.5).all()
    assert (np.diff(edges) >= 1).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


@given(st.lists(st.floats(1e-9, 6e8), min_size=1, max_size=50))
def test_edges_hold_every_area(areas):
    values = np.array(areas)
    assert np.histogram(values, area_edges(values))[0].sum() == len(values)
