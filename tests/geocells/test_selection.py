import numpy as np
import pytest

from geoindex import geo
from geoindex.geocells.positions import occupied_sites
from geoindex.geocells.repair import into_range
from geoindex.geocells.selection import Score, Setting, Silhouette, Trials, choose, davies_bouldin, sweep


def towns(count: int, towns: int, seed: int = 0, spread: float = 0.01) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.arange(count) % towns
    return *geo.from_unit(rng.normal(size=(towns, 3))[label] + spread * rng.normal(size=(count, 3))), label


def score(count: int, silhouette: float | None, index: float | None, floor: float = 1.0) -> Score:
    return Score(Setting(2, 0.1), count, 0.0, silhouette, 0.0, 10, index, floor, np.empty((0, 3)))


def test_silhouette_is_that_of_scikit_learn_on_haversine_distances():
    from sklearn.metrics import silhouette_samples

    lat, lon, label = towns(120, 7, spread=0.3)
    label[0] = 7  # alone
    km = geo.haversine_km(lat[:, None], lon[:, None], lat[None], lon[None])
    np.fill_diagonal(km, 0.0)
    ours = Silhouette(geo.to_unit(lat, lon), 0).measure(label, 8)
    np.testing.assert_allclose(ours, silhouette_samples(km, label, metric="precomputed"), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 0.5])
def test_skipping_far_cells_changes_no_silhouette(scale):
    from sklearn.metrics import silhouette_samples

    lat, lon, label = towns(400, 60, seed=3, spread=scale)
    label = np.where(np.arange(400) % 7 == 0, np.random.default_rng(0).integers(0, 60, 400), label)  # cells overlap
    km = geo.haversine_km(lat[:, None], lon[:, None], lat[None], lon[None])
    np.fill_diagonal(km, 0.0)
    ours = Silhouette(geo.to_unit(lat, lon), 0).measure(label, 60)
    np.testing.assert_allclose(ours, silhouette_samples(km, label, metric="precomputed"), atol=1e-6)


def test_sampled_silhouette_is_near_the_full_one():
    from sklearn.metrics import silhouette_score

    lat, lon, label = towns(1500, 9, spread=0.2)
    xyz = geo.to_unit(lat, lon)
    gauge = Silhouette(xyz, 0)
    assert len(gauge.rows) == 1000
    assert gauge.measure(label, 9).mean() == pytest.approx(
        silhouette_score(np.arccos(np.clip(xyz @ xyz.T, -1, 1)) * (1 - np.eye(1500)), label, metric="precomputed"),
        abs=0.03,
    )


def test_davies_bouldin_in_closed_form():
    # Two pairs on the equator: members 1 degree from their centroids, centroids 20 degrees apart.
    xyz = geo.to_unit(np.zeros(4), [-1.0, 1.0, 19.0, 21.0])
    assert davies_bouldin(xyz, np.array([0, 0, 1, 1]), 2) == pytest.approx(2.0 / 20.0)


def test_davies_bouldin_of_one_place_is_finite():
    xyz = geo.to_unit([0.0, 0.0], [1.0, 1.0])
    assert davies_bouldin(xyz, np.array([0, 1]), 2) == 0.0


def test_davies_bouldin_sees_across_the_antimeridian():
    lat, lon = np.array([0.0, 0.0, 0.0, 0.0]), np.array([0.0, 2.0, 4.0, 6.0])
    cell = np.array([0, 0, 1, 1])
    there = davies_bouldin(geo.to_unit(lat, lon), cell, 2)
    assert davies_bouldin(geo.to_unit(lat, geo.wrap_lon(lon + 177.0)), cell, 2) == pytest.approx(there)


def test_sweep_scores_every_setting_after_outliers_found_a_cell():
    lat, lon, _ = towns(300, 6)
    lat, lon = np.append(lat, 0.0), np.append(lon, 0.0)
    scores = sweep(lat, lon, Trials((5, 10), (0.05, 0.2), seed=0))
    assert [(s.setting.min_samples, s.setting.xi) for s in scores] == [(5, 0.05), (5, 0.2), (10, 0.05), (10, 0.2)]
    for found in scores:
        sites, _, distance_km = occupied_sites(found.site_xyz, geo.to_unit(lat, lon))
        assert len(sites) == found.n_clusters == found.site_xyz.shape[0]
        assert found.error_floor_km == pytest.approx(np.median(distance_km))
        assert found.to_dict()["n_clusters"] == found.n_clusters
    assert max(s.share_outliers for s in scores) > 0


def test_sweep_is_the_same_on_threads(monkeypatch):
    from geoindex.geocells import selection

    lat, lon, _ = towns(300, 6)
    trials = Trials((5, 10), (0.05, 0.2), seed=0)
    alone = sweep(lat, lon, trials)
    monkeypatch.setattr(selection, "THREADS_FROM", 1)
    assert sweep(lat, lon, trials) == alone


def test_hdbscan_finds_the_towns():
    pytest.importorskip("fast_hdbscan")
    lat, lon, label = towns(300, 6)
    (found,) = sweep(lat, lon, Trials((10,), (0.1, 0.2), seed=0, method="hdbscan"))  # xi is of OPTICS alone
    assert (found.n_clusters, found.setting.xi) == (6, None)
    centres = geo.to_unit(lat, lon).reshape(-1, 3)
    middles = np.stack([centres[label == town].mean(axis=0) for town in range(6)])
    assert np.linalg.norm(found.site_xyz[:, None] - middles, axis=2).min(axis=1).max() < 0.01


def test_sweep_without_any_cluster_gives_one_cell():
    (found,) = sweep([10.0, 20.0], [0.0, 0.0], Trials((5,), (0.1,), seed=0))
    assert (found.n_clusters, found.share_outliers, found.silhouette, found.davies_bouldin) == (1, 1.0, None, None)
    assert geo.from_unit(found.site_xyz)[0] == pytest.approx(15.0)


def test_choice_stays_inside_the_range():
    scores = [score(2, 0.9, 0.1), score(50, 0.4, 0.8), score(60, 0.5, 0.7), score(900, 0.99, 0.01)]
    assert choose(scores, 10, 100) is scores[2]


def test_choice_by_mean_rank_then_floor_then_order():
    scores = [score(20, 0.3, 0.5, floor=9.0), score(30, 0.2, 0.4, floor=5.0), score(40, 0.1, 0.9)]
    assert choose(scores, 1, 100) is scores[1]  # ranks 0+1 against 1+0: the floor decides
    equal = [score(20, 0.3, 0.5), score(30, 0.3, 0.5)]
    assert choose(equal, 1, 100) is equal[0]


def test_single_cell_ranks_last():
    scores = [score(1, None, None, floor=0.0), score(5, -0.5, 3.0)]
    assert choose(scores, 1, 10) is scores[1]


def test_choice_outside_is_the_nearest_by_ratio():
    scores = [score(5, 0.9, 0.1), score(150, 0.1, 0.9), score(400, 0.9, 0.1)]
    assert choose(scores, 20, 100) is scores[1]


@pytest.mark.parametrize(
    ("start", "low", "high"), [(1, 9, 12), (3, 40, 40), (60, 5, 8), (200, 20, 30), (10, 5, 20), (1, 200, 200)]
)
def test_repair_brings_the_count_into_the_range(start, low, high):
    lat, lon, _ = towns(200, 6, spread=0.1)
    xyz = geo.to_unit(lat, lon)
    sites = into_range(xyz, xyz[:start], low, high)
    assert low <= len(sites) <= high
    assert len(occupied_sites(sites, xyz)[0]) == len(sites)
    np.testing.assert_array_equal(sites, into_range(xyz, xyz[:start], low, high))


def test_too_many_sites_for_linkage_are_joined_first(monkeypatch):
    from geoindex.geocells import repair

    lat, lon, _ = towns(400, 6, spread=0.1)
    xyz = geo.to_unit(lat, lon)
    monkeypatch.setattr(repair, "MOST_LINKED", 50)
    sites = into_range(xyz, xyz[:300], 6, 6)
    assert len(sites) == 6
    many = into_range(xyz, xyz[:300], 200, 200)
    assert len(many) == len(np.unique(many.round(12), axis=0)) == 200
    error = np.mean(1 - np.max(xyz @ sites.T, axis=1))
    assert error < 2 * np.mean(1 - np.max(xyz @ into_range(xyz, xyz[:50], 6, 6).T, axis=1))


def test_repair_with_duplicates_reaches_the_number_of_places():
    lat, lon, _ = towns(15, 3, spread=0.1)
    xyz = geo.to_unit(np.repeat(lat, 10), np.repeat(lon, 10))
    assert len(into_range(xyz, xyz[:1], 15, 15)) == 15
    assert len(into_range(xyz, xyz[:1], 16, 16)) == 15  # more than there are places: as many as there are


def test_splitting_never_raises_the_squared_error():
    lat, lon, _ = towns(200, 6, spread=0.2)
    xyz = geo.to_unit(lat, lon)
    errors = [np.sum(1 - np.max(xyz @ into_range(xyz, xyz[:1], n, n).T, axis=1)) for n in (2, 4, 8, 16, 32)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]
