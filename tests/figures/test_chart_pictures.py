import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geoindex.figures import draw_floor, draw_reachability
from geoindex.figures.charts import counted, number, round_steps, rounded, widened
from geoindex.figures.floor import share_within
from geoindex.figures.reachability import COLUMNS, OUTLIER, ROWS, column_shares, enlarged, kinds, range_km
from geoindex.figures.worldmap import CANDIDATE, TRUTH


def picture_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


walks = {
    "one": ([np.inf], [-1]),
    "none": ([], []),
    "equal positions": ([np.inf, 0.0, 0.0, 0.0], [0, 0, 0, 0]),
    "equal distances": ([np.inf, 3.0, 3.0], [-1, 0, 0]),
    "never reached": ([np.inf] * 5, [-1] * 5),
    "far apart": ([np.inf, 1e-9, 2e4, 0.0], [0, 0, 1, 1]),
}


@pytest.mark.parametrize("walk", walks.values(), ids=walks)
def test_any_walk(tmp_path, walk):
    assert picture_of(draw_reachability(*walk, tmp_path / "a.png")).shape[1] == 1600


def test_clusters_take_turns_and_outliers_are_grey(tmp_path):
    page = picture_of(draw_reachability([np.inf, 9, 9, 2, 9, 2], [-1, -1, 0, 0, 1, 1], tmp_path / "a.png"))
    foot = page[800, 105 + 237 * np.arange(6) + 118]
    assert np.abs(foot[2:4] - rgb(TRUTH)).max() < 12 or np.abs(foot[2:4] - rgb(CANDIDATE)).max() < 12
    assert (foot[:2] == foot[0]).all()
    assert (foot[4:] == foot[4]).all()
    assert len({tuple(colour) for colour in foot}) == 3
    valley, hill = page[:, 105 + 237 * 3 + 118], page[:, 105 + 237 * 2 + 118]
    assert (valley[150:800] == 255).all(axis=-1).sum() > (hill[150:800] == 255).all(axis=-1).sum() + 200


def test_long_walks_are_drawn_small_and_enlarged(tmp_path):
    random = np.random.default_rng(0)
    reach_km = random.lognormal(2.0, 2.0, 300_000)
    path = draw_reachability(reach_km, np.repeat(np.arange(-1, 2999), 100), tmp_path / "a.png")
    assert path.stat().st_size < 400_000
    assert (picture_of(path) == rgb(CANDIDATE)).all(axis=-1).sum() > 10_000  # only where clusters have room for turns


def test_one_high_position_of_a_long_walk_is_kept():
    row = np.zeros(1_000_000, np.int64)
    row[500_000] = ROWS - 1
    shares = column_shares(row, np.full(len(row), OUTLIER))
    assert shares.shape == (3, ROWS, COLUMNS)
    assert np.count_nonzero(shares[OUTLIER, -1]) == 1
    assert shares[OUTLIER, 0] == pytest.approx(1.0)
    assert not shares[:OUTLIER].any()


def test_one_high_position_of_a_long_walk_is_seen(tmp_path):
    reach_km = np.ones(500_000)
    reach_km[250_000] = 1000.0
    page = picture_of(draw_reachability(reach_km, np.full(len(reach_km), -1), tmp_path / "a.png"))
    peak = (page[180:600, 200:1400] < 250).all(axis=-1).mean(axis=0)  # share of the height
    assert (peak > 0.8).sum() in (1, 2)


def test_column_shares_are_bars():
    shares = column_shares(np.array([0, 3, ROWS - 1]), np.array([0, 1, 2]))
    assert shares.sum(axis=1).tolist() == [[1, 0, 0], [0, 4, 0], [0, 0, ROWS]]


def test_kinds_take_turns_only_where_that_can_be_seen():
    assert kinds(np.array([-1, 4, 4, 7, -1, 9])).tolist() in ([2, 1, 1, 0, 2, 1], [2, 0, 0, 1, 2, 0])
    assert set(kinds(np.arange(-1, 5000))) == {0, OUTLIER}


def test_enlarged_holds_the_largest_cluster():
    label = np.repeat([-1, 0, -1, 1, 2], [3000, 50, 40, 500, 10])
    part = enlarged(label)
    assert (label[part] == 1).sum() == 500
    assert (label[part] != 1).any()
    assert enlarged(label[-1000:]) is None
    assert enlarged(np.full(10_000, -1)) is None
    edge = enlarged(np.repeat([0, -1], [4000, 6000]))
    assert (edge.start, edge.stop) == (749, 3249)


def test_range_leaves_out_zeros_and_starts():
    low, high = range_km(np.array([0.0, 2.0, 30.0, np.inf]))
    assert 0.1 < low <= 2.0
    assert 30.0 <= high < 100.0


floors = {
    "zeros": {"a": [0.0, 0.0]},
    "one": {"a": [3.0]},
    "empty": {"a": []},
    "none": {},
    "far": {"a$b$_1": [20_015.2, 1e-12], "b" * 80: [7.0]},
    "many": {str(n): [float(n)] for n in range(8)},
}


@pytest.mark.parametrize("distances_km", floors.values(), ids=floors)
def test_any_floor(tmp_path, distances_km):
    assert picture_of(draw_floor(distances_km, tmp_path / "a.png")).shape[1] == 1600


def test_floor_rises_where_the_distances_are(tmp_path):
    path = draw_floor({"cell": [10.0] * 1000}, tmp_path / "a.png")
    plot = picture_of(path)[-650:-90, 106:1550]
    columns = (np.abs(plot - rgb(TRUTH)).max(axis=-1) < 12).sum(axis=0)
    assert columns.argmax() == pytest.approx(1446 * np.log10(10.0 / 0.1) / np.log10(1000.0 / 0.1), abs=5)
    assert columns.max() > 500
    assert path.stat().st_size < 400_000


def test_share_within_counts_what_is_as_near():
    assert share_within(np.array([0.0, 1.0, 25.0, 26.0]), [0.0, 1.0, 25.0, 200.0]).tolist() == [0.25, 0.5, 0.75, 1.0]


@given(st.floats(1e-9, 1e9), st.floats(2.5001, 1e12))
def test_round_steps_are_few_and_inside(low, ratio):
    steps = round_steps(low, low * ratio)
    assert 1 <= len(steps) <= 6
    assert low <= steps[0]
    assert steps[-1] <= low * ratio
    assert steps == sorted(set(steps))


def test_round_steps_are_evenly_apart():
    assert round_steps(4, 130) == [5, 10, 20, 50, 100]
    assert round_steps(0.9, 200) == [1, 3, 10, 30, 100]
    assert round_steps(0.2, 2e4) == [1, 10, 100, 1000, 10_000]
    assert round_steps(0.01, 2e7) == [0.01, 1, 100, 10_000, 1_000_000]


@given(st.floats(1e-9, 1e9), st.floats(1.0, 1e9))
def test_widened_is_a_decade_at_least(low, ratio):
    start, end = widened(low, low * ratio)
    assert start < low
    assert low * ratio < end
    assert end / start > 9.999


def test_numbers_are_written_for_people():
    assert [number(value) for value in (0, 0.1, 2.5, 20, 10_050, 1e6)] == [
        "0",
        "0.1",
        "2.5",
        "20",
        "10,050",
        "1,000,000",
    ]
    assert rounded(2_495_148) == "2,500,000"
    assert [counted(n, "cell") for n in (0, 1, 2000)] == ["0 cells", "1 cell", "2,000 cells"]
