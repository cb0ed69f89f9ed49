import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from geoindex.figures import draw_prediction, draw_samples, great_circle
from geoindex.figures.worldmap import ANSWER, TRUTH
from geoindex.geo import haversine_km
from geoindex.prediction import Candidate, Prediction


def prediction(lat=48.2, lon=16.4, candidates=3, place="Vienna, Austria"):
    rows = tuple(
        Candidate(i + 1, min(lat + i, 90.0), lon, 0.5 / (i + 1), 0.4, i, i, 10, 20.0, place) for i in range(candidates)
    )
    return Prediction(lat, lon, place, 0.4, 120.0, "posterior", rows)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def pixels(path, colour):
    """Count the pixels of a hex colour."""
    with Image.open(path) as picture:
        seen = np.asarray(picture.convert("RGB"))
    return int((seen == rgb(colour)).all(axis=-1).sum())


def test_prediction_with_everything(tmp_path):
    photo = Image.new("RGB", (640, 480), "#123456")
    path = draw_prediction(prediction(), tmp_path / "new" / "a.png", truth=(45.4, 12.3), image=photo, title="T")
    with Image.open(path) as picture:
        assert picture.size == (1600, 900)
    assert pixels(path, "#123456") > 50_000
    assert pixels(path, ANSWER) > 200
    assert pixels(path, TRUTH) > 200


def test_no_truth_no_blue(tmp_path):
    assert pixels(draw_prediction(prediction(), tmp_path / "a.png"), TRUTH) == 0


def test_photo_is_left_as_it_was(tmp_path):
    photo = Image.new("L", (3000, 9000))
    draw_prediction(prediction(), tmp_path / "a.png", image=photo)
    assert (photo.size, photo.mode) == ((3000, 9000), "L")


@pytest.mark.parametrize(
    ("lat", "lon", "truth"),
    [(-17.7, 179.9, (-13.8, -171.8)), (89.9, 0.0, (-89.9, 0.0)), (-90.0, 10.0, None), (0.0, 0.0, (0.0, 180.0))],
)
def test_edges_of_the_map(tmp_path, lat, lon, truth):
    assert pixels(draw_prediction(prediction(lat, lon), tmp_path / "a.png", truth=truth), ANSWER) > 100


@pytest.mark.parametrize("place", ["", "A$b$ town_1^2, X", "Saint " * 40, "京都市"])
def test_any_place_name(tmp_path, place):
    assert draw_prediction(prediction(place=place), tmp_path / "a.png").exists()


@pytest.mark.parametrize("candidates", [0, 1, 30])
def test_any_number_of_candidates(tmp_path, candidates):
    assert draw_prediction(prediction(candidates=candidates), tmp_path / "a.png").exists()


def test_samples(tmp_path):
    random = np.random.default_rng(0)
    path = draw_samples(random.uniform(-60, 80, 50), random.uniform(-180, 180, 50), tmp_path / "a.png")
    blank = draw_samples([], [], tmp_path / "b.png")
    assert path.read_bytes() != blank.read_bytes()


positions = st.tuples(st.floats(-89, 89), st.floats(-180, 180))


@settings(max_examples=200, deadline=None)
@given(positions, positions)
@example((0.0, 54.0), (78.0, -127.0))  # crosses the antimeridian near the pole
def test_great_circle_is_the_shortest_way(start, end):
    parts = great_circle(*start, *end, 50)
    assert haversine_km(*start, *parts[0][0]) < 1e-3
    assert haversine_km(*end, *parts[-1][-1]) < 1e-3
    assert len(parts) <= 2
    length_km = sum(haversine_km(*part[:-1].T, *part[1:].T).sum() for part in parts)
    assert length_km == pytest.approx(float(haversine_km(*start, *end)), rel=5e-3, abs=2.0)
    for part in parts:
        assert np.abs(part[:, 1]).max() <= 180.0 + 1e-9


def test_great_circle_splits_at_the_antimeridian():
    east, west = great_circle(10.0, 170.0, 10.0, -170.0)
    assert east[-1, 1] == 180.0
    assert west[0, 1] == -180.0
    assert east[-1, 0] == west[0, 0] > 10.0


def test_import_loads_no_matplotlib():
    script = "import sys, geoindex.figures; sys.exit('matplotlib' in sys.modules or 'scipy.spatial' in sys.modules)"
    assert run([sys.executable, "-c", script], check=False).returncode == 0
