import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.geo import haversine_km
from geoindex.geocells.footprints import footprints, group_quantiles


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=40),
    st.sampled_from(["0.01", "0.5", "0.68", "0.95", "1"]),
)
def test_quantiles_equal_brute_force(members, share):
    members = members + [(g, 5) for g in range(4)]
    group, values = np.array(members).T
    found = group_quantiles(values.astype(float), group, 4, [float(share)])[0]
    for g in range(4):
        inside = values[group == g]
        enough = [v for v in inside if np.sum(inside <= v) >= Fraction(share) * len(inside)]
        assert found[g] == min(enough)


@pytest.mark.parametrize("share", ["0.68", "0.95"])
def test_quantiles_count_members_exactly(share):
    size = np.arange(1, 700)
    group = np.repeat(np.arange(len(size)), size)
    rank = np.concatenate([np.arange(1, n + 1) for n in size]).astype(float)
    wanted = [math.ceil(Fraction(share) * int(n)) for n in size]
    assert group_quantiles(rank, group, len(size), [float(share)])[0].tolist() == wanted


def test_spread_is_the_root_of_the_mean_square():
    lat, lon = np.array([0.0, 0.0, 0.0, 50.0]), np.array([-1.0, 1.0, 0.0, 0.0])
    found = footprints(lat, lon, np.array([0, 0, 0, 1]), 2)
    degree_km = float(haversine_km(0, 0, 0, 1))
    assert found.spread_km == pytest.approx([degree_km * math.sqrt(2 / 3), 0.0], abs=1e-6)
    assert found.n_members.tolist() == [3, 1]
    assert found.radius95_km == pytest.approx([degree_km, 0.0], abs=1e-6)
