import numpy as np
import pytest

from geoindex.geo import from_unit, haversine_km, to_unit
from geoindex.prototypes import describe_groups, normalise, sum_slices


def test_groups_are_described_by_their_members():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-90, 90, 60), rng.uniform(-180, 180, 60)
    group = np.concatenate([np.arange(5), rng.integers(0, 5, 55)])
    embeddings = rng.standard_normal((60, 8))
    sums = np.stack([embeddings[group == g].sum(axis=0) for g in range(5)])
    groups = describe_groups(lat, lon, group, sums)
    for g in range(5):
        inside = group == g
        centre = groups.lat[g], groups.lon[g]
        assert haversine_km(*from_unit(to_unit(lat[inside], lon[inside]).mean(axis=0)), *centre) < 1e-3
        assert groups.n_members[g] == inside.sum()
        distance_km = haversine_km(lat[inside], lon[inside], *centre)
        for radius_km, share in ((groups.radius_km[g], 0.68), (groups.radius95_km[g], 0.95)):
            assert np.mean(distance_km <= radius_km) >= share
            assert np.mean(distance_km < radius_km) < share
        mean = embeddings[inside].mean(axis=0)
        np.testing.assert_allclose(groups.embedding[g], mean / np.linalg.norm(mean), atol=1e-6)
    assert groups.embedding.dtype == np.float32
    assert groups.embedding_sum is sums


def test_a_single_member_is_its_own_centroid():
    groups = describe_groups(np.array([-18.0]), np.array([179.9]), np.array([0]), np.array([[0.0, 2.0]]))
    assert (groups.lat[0], groups.lon[0]) == pytest.approx((-18, 179.9))
    assert groups.radius_km[0] == pytest.approx(0, abs=1e-3)
    assert groups.embedding.tolist() == [[0, 1]]


def test_members_that_cancel_out_have_the_first_as_centroid():
    lat, lon, group = np.array([1.0, 30, -30, 2]), np.array([2.0, 10, -170, 3]), np.array([1, 0, 0, 1])
    groups = describe_groups(lat, lon, group, np.ones((2, 3)))
    assert (groups.lat[0], groups.lon[0]) == (30, 10)
    assert groups.lat[1] == pytest.approx(1.5, abs=1e-3)


def test_slices_are_summed_without_rounding():
    embeddings = np.full((5000, 2), 0.1, np.float16)
    embeddings[0, 1] = 4096
    sums = sum_slices(embeddings, np.array([0, 4000]), np.array([4000, 1000]))
    tenth = float(np.float16(0.1))
    assert sums.dtype == np.float64
    np.testing.assert_allclose(sums, [[4000 * tenth, 4096 + 3999 * tenth], [1000 * tenth] * 2], rtol=1e-12)


def test_sums_take_members_away_exactly():
    rng = np.random.default_rng(1)
    embeddings = rng.standard_normal((30, 4)).astype(np.float16)
    whole = sum_slices(embeddings, np.array([0]), np.array([30]))[0]
    parts = sum_slices(embeddings, np.array([0, 10, 10]), np.array([10, 0, 20]))
    np.testing.assert_array_equal(whole - parts[2], parts[0])
    np.testing.assert_array_equal(parts[1], 0)


def test_a_zero_vector_stays_zero():
    np.testing.assert_array_equal(normalise(np.array([[0.0, 0], [3, 4]])), [[0, 0], [0.6, 0.8]])
