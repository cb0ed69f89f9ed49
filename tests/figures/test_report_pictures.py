"""Pictures of a report: any input draws, and what is drawn is what was given."""

import numpy as np
import pytest
from PIL import Image

from geoindex.figures.confusion import draw_confusion
from geoindex.figures.curves import ErrorCurve, draw_error_curves
from geoindex.figures.errors import CLASSES, draw_errors
from geoindex.figures.ranges import DrawnRange, draw_ranges
from geoindex.figures.reliability import DrawnBin, DrawnChance, draw_reliability
from geoindex.figures.worldmap import ANSWER, TRUTH


def picture_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def pixels(page, colour, slack=12):
    """Return how many pixels have a colour."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(page - rgb).max(axis=-1) < slack).sum())


NO_LAND = {"lat": [0.0, -20.0], "lon": [-140.0, -110.0]}


@pytest.mark.parametrize(
    ("lat", "lon", "off_km"),
    [([], [], []), ([90.0], [180.0], [0.0]), ([-90.0, 0.0], [-180.0, 0.0], [20015.2, 25.0])],
    ids=["none", "pole", "edges"],
)
def test_any_errors(tmp_path, lat, lon, off_km):
    assert picture_of(draw_errors(lat, lon, off_km, tmp_path / "a.png", title="a")).shape[1] == 1600


def test_each_error_has_the_colour_of_its_class(tmp_path):
    colours = [colour for _, _, colour in CLASSES]
    for off_km, own in ((24.9, 0), (25.0, 1), (749.0, 2), (750.0, 3), (2500.0, 4), (15000.0, 4)):
        page = picture_of(draw_errors(**NO_LAND, distance_km=[off_km] * 2, path=tmp_path / "a.png", title=""))[:700]
        found = [pixels(page, colour, slack=4) for colour in colours]
        assert found[own] > 50
        assert sum(found) - found[own] < 0.1 * found[own]  # edges of dots are mixed colours


curves = {
    "none": [],
    "one": [ErrorCurve("a", "own", [3.0])],
    "empty": [ErrorCurve("a", "own", []), ErrorCurve("b", "floor", [0.0, 0.0])],
    "many": [ErrorCurve("$x$ " * 30, "rival", [10.0**n, 3e4]) for n in range(20)],
}


@pytest.mark.parametrize("given", curves.values(), ids=curves)
def test_any_error_curves(tmp_path, given):
    path = draw_error_curves(given, tmp_path / "a.png", title="a")
    assert picture_of(path).shape[1] == 1600
    assert path.stat().st_size < 400_000


def test_a_curve_rises_where_the_errors_are(tmp_path):
    given = [ErrorCurve("index", "own", [100.0] * 50)]
    plot = picture_of(draw_error_curves(given, tmp_path / "a.png", title="a"))[130:715, 96:792]
    rgb = np.array([int(ANSWER[i : i + 2], 16) for i in (1, 3, 5)])
    columns = (np.abs(plot - rgb).max(axis=-1) < 12).sum(axis=0)
    assert columns.argmax() == pytest.approx(696 * np.log10(100.0) / np.log10(20_100.0), abs=6)


def test_only_marked_rows_stand_out(tmp_path):
    rows = [DrawnRange("Chad", 800.0, 500.0, 900.0, "9 photos", marked=True), DrawnRange("Peru", 2000.0, 1.0, 4000.0)]
    style = {"title": "a", "label": "b", "ends": (0.0, 5000.0), "overall": 1500.0}
    both = picture_of(draw_ranges(rows, tmp_path / "a.png", **style))
    plain = picture_of(draw_ranges(rows[1:], tmp_path / "b.png", **style))
    assert pixels(both, ANSWER) > 50
    assert (pixels(plain, ANSWER), pixels(plain, TRUTH) > 50) == (0, True)
    assert picture_of(draw_ranges([], tmp_path / "c.png", **style)).shape[1] == 1600


def test_a_matrix_is_dark_where_the_queries_are(tmp_path):
    counts, elsewhere = np.array([[9, 0], [0, 0]]), np.array([0, 7])
    page = picture_of(draw_confusion(counts, elsewhere, ["a", "$b$" * 40], tmp_path / "a.png", title="a"))
    dark = np.abs(page - np.array([int(TRUTH[i : i + 2], 16) for i in (1, 3, 5)])).max(axis=-1) < 12
    upper, lower = dark[160:210].sum(axis=0), dark[215:255].sum(axis=0)
    assert np.flatnonzero(upper).max() < np.flatnonzero(lower).min()
    assert min(upper.sum(), lower.sum()) > 1000


@pytest.mark.parametrize("count", [0, 1, 14])
def test_any_matrix(tmp_path, count):
    counts, names = np.zeros((count, count), np.int64), ["x"] * count
    path = draw_confusion(counts, np.zeros(count, np.int64), names, tmp_path / "a.png", title="a")
    assert picture_of(path).shape[1] == 1600


def chance(told, right):
    told, wrong = np.array(told, float), 1.0 - np.array(right, float)
    mean = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    bins = [DrawnBin(t, r, 0.0, 1.0) for t, r in zip(told.tolist(), right, strict=True)]
    return DrawnChance("$near$", ["a", "b"], told, float(np.mean(right)) if right else 0.0, bins, mean, mean)


@pytest.mark.parametrize(
    "columns",
    [[], [chance([], [])], [chance([0.5], [1.0])], [chance([0.0, 1.0], [0.0, 1.0]), chance([1e-6] * 3, [0.0] * 3)]],
    ids=["none", "empty", "one", "edges"],
)
def test_any_chances(tmp_path, columns):
    assert picture_of(draw_reliability(columns, tmp_path / "a.png", title="a")).shape[1] == 1600


def test_dots_lie_where_told_and_right_meet(tmp_path):
    def dots(right):
        page = picture_of(draw_reliability([chance([0.2, 1.0], [right, right])], tmp_path / "a.png", title=""))
        rgb = np.array([int(ANSWER[i : i + 2], 16) for i in (1, 3, 5)])
        found = (np.abs(page[220:600, 95:520] - rgb).max(axis=-1) < 12).sum(axis=1)
        return int(found.argmax())  # the row of the line between the dots

    assert dots(0.9) < dots(0.5) < dots(0.1)
