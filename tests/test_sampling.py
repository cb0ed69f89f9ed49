import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.errors import ConfigError
from geoindex.sampling import sample_rows


def earth(count, seed=3):
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)


@settings(deadline=None)
@given(
    total=st.integers(0, 200),
    count=st.integers(0, 250),
    balance=st.sampled_from(["uniform", "area"]),
    seed=st.integers(0, 2**32),
)
def test_rows_are_ascending_without_repetition_and_deterministic(total, count, balance, seed):
    lat, lon = earth(total)
    rows = sample_rows(lat, lon, count, balance=balance, seed=seed)
    assert len(rows) == min(total, count)
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    assert set(rows) <= set(range(total))
    assert (rows == sample_rows(lat, lon, count, balance=balance, seed=seed)).all()


def test_another_seed_is_another_sample():
    lat, lon = earth(1000)
    assert (sample_rows(lat, lon, 100, seed=1) != sample_rows(lat, lon, 100, seed=2)).any()


def crowded():
    """One town with 9,000 photos, and 100 lonely ones far apart."""
    lonely_lat, lonely_lon = np.repeat(np.arange(-45, 45, 9.0), 10), np.tile(np.arange(-170, 180, 35.0), 10)
    rng = np.random.default_rng(0)
    return (
        np.concatenate([rng.uniform(50.01, 50.02, 9000), lonely_lat]),
        np.concatenate([rng.uniform(8.01, 8.02, 9000), lonely_lon]),
    )


def test_uniform_follows_the_crowd():
    lonely = (sample_rows(*crowded(), 1000, seed=1) >= 9000).mean()
    assert lonely == pytest.approx(100 / 9100, abs=0.01)


def test_area_gives_every_tile_alike_until_it_is_used_up():
    # 101 tiles of equal weight: of 20 rows about 20/101 fall on the town, and 300 rows use up the lonely ones
    towns = [(sample_rows(*crowded(), 20, balance="area", seed=s) < 9000).sum() for s in range(100)]
    assert np.mean(towns) == pytest.approx(0.22, abs=0.12)
    assert (sample_rows(*crowded(), 1000, balance="area", seed=1) >= 9000).sum() >= 98


def test_cover_reaches_every_tile_and_leaves_the_rest_as_it_is():
    # 101 tiles and a tenth of 2,000 rows: one row of each tile first, then 1,899 at random
    rows = sample_rows(*crowded(), 2000, balance="cover", seed=1)
    assert len(rows) == len(np.unique(rows)) == 2000
    assert set(range(9000, 9100)) <= set(rows)
    plain = sample_rows(*crowded(), 2000, seed=1)
    assert len(np.intersect1d(rows, plain)) > 1850


def test_cover_spends_a_tenth_at_most():
    lonely = [(sample_rows(*crowded(), 100, balance="cover", seed=s) >= 9000).sum() for s in range(20)]
    assert 8 <= min(lonely) <= max(lonely) <= 12
    assert len({tuple(sample_rows(*crowded(), 100, balance="cover", seed=s)) for s in range(3)}) == 3


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match="uniform, area or cover"):
        sample_rows([1.0], [2.0], 1, balance="people", seed=0)
    with pytest.raises(ConfigError, match="-1 rows"):
        sample_rows([1.0], [2.0], -1, seed=0)
