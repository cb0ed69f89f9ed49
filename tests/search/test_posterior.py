import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.ann import TwoStageIndex
from geoindex.search.posterior import (
    SCALE_BOUNDS,
    Geography,
    Scales,
    cell_log_probability,
    fit_scales,
    rank_clusters,
)

DIM = 8


def unit(rng, *shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class World:
    """Cells and clusters with random geo-embeddings at random places; every cell has a cluster."""

    def __init__(self, seed, n_cells=9, n_clusters=40):
        rng = self.rng = np.random.default_rng(seed)
        self.cells, self.clusters = unit(rng, n_cells, DIM), unit(rng, n_clusters, DIM)
        self.cell_of = np.sort(np.concatenate([np.arange(n_cells), rng.integers(0, n_cells, n_clusters - n_cells)]))
        self.images = rng.integers(1, 50, n_clusters)
        self.cell_images = np.bincount(self.cell_of, self.images).astype(np.int64)
        self.geography = Geography(
            rng.uniform(-80, 80, n_cells), rng.uniform(-180, 180, n_cells), self.cell_images,
            rng.uniform(-80, 80, n_clusters), rng.uniform(-180, 180, n_clusters), self.images, self.cell_of,
        )  # fmt: skip
        self.ann = TwoStageIndex.build(self.cells, self.clusters, self.cell_of)

    def probabilities(self, query, scales):
        """p(c) of every cell and p(m) of every cluster, written out from their definitions."""
        cell_weight = np.exp(scales.cell * (self.cells.astype(float) @ query))
        weight = np.exp(scales.cluster * (self.clusters.astype(float) @ query))
        if scales.prior:
            cell_weight, weight = cell_weight * self.cell_images, weight * self.images
        p_cell = cell_weight / cell_weight.sum()
        within = weight / np.bincount(self.cell_of, weight)[self.cell_of]
        return p_cell, p_cell[self.cell_of] * within

    def planted(self, count, scale_cell, scale_cluster, prior=False):
        """Queries whose true cells and clusters are drawn from the posterior of these scales."""
        queries = unit(self.rng, count, DIM)
        _, p = zip(*(self.probabilities(q, Scales(scale_cell, scale_cluster, prior)) for q in queries), strict=True)
        cluster = np.array([self.rng.choice(len(row), p=row / row.sum()) for row in p])
        return queries, self.cell_of[cluster], cluster


worlds = st.builds(World, st.integers(0, 10**6), st.just(9), st.integers(9, 60))
scale = st.sampled_from([Scales(), Scales(5.0, 90.0), Scales(20.0, 20.0, True), Scales(300.0, 0.5, True)])
moderate = settings(max_examples=25, deadline=None)


@moderate
@given(worlds, scale)
def test_probabilities_sum_to_one_when_every_cell_is_probed(world, scales):
    for ranking in rank_clusters(world.ann, world.geography, scales, unit(world.rng, 3, DIM), 9):
        assert sorted(ranking.clusters) == list(range(len(world.clusters)))
        assert ranking.probability.sum() == pytest.approx(1, abs=1e-9)
        assert ranking.posterior.probability.tolist() == ranking.probability.tolist()


@moderate
@given(worlds, scale, st.integers(1, 12))
def test_probabilities_follow_their_definition(world, scales, top_cells):
    query = unit(world.rng, DIM)
    p_cell, p_cluster = world.probabilities(query, scales)
    (ranking,) = rank_clusters(world.ann, world.geography, scales, query[None], top_cells)
    probed = np.argsort(-p_cell, kind="stable")[:top_cells]
    assert sorted(ranking.clusters) == np.flatnonzero(np.isin(world.cell_of, probed)).tolist()
    np.testing.assert_allclose(ranking.probability, p_cluster[ranking.clusters], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(ranking.scores, world.clusters[ranking.clusters] @ query, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_with_the_prior_the_most_probable_cells_are_probed(seed):
    world, scales = World(seed, n_cells=30, n_clusters=90), Scales(2.0, 2.0, prior=True)
    queries = unit(world.rng, 20, DIM)
    for query, ranking in zip(queries, rank_clusters(world.ann, world.geography, scales, queries, 3), strict=True):
        p_cell, _ = world.probabilities(query, scales)
        assert set(world.cell_of[ranking.clusters]) == set(np.argsort(-p_cell, kind="stable")[:3])


@moderate
@given(worlds, scale, st.integers(1, 9))
def test_the_posterior_holds_the_cells_that_were_not_probed(world, scales, top_cells):
    query = unit(world.rng, DIM)
    p_cell, _ = world.probabilities(query, scales)
    (ranking,) = rank_clusters(world.ann, world.geography, scales, query[None], top_cells)
    posterior, found = ranking.posterior, len(ranking.clusters)
    unprobed = np.setdiff1d(np.arange(9), world.cell_of[ranking.clusters])
    assert len(unprobed) == 9 - top_cells
    assert posterior.probability.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(posterior.probability[found:], p_cell[unprobed], rtol=1e-3, atol=1e-12)
    np.testing.assert_array_equal(posterior.lat[found:], world.geography.cell_lat[unprobed])
    np.testing.assert_array_equal(posterior.lon[found:], world.geography.cell_lon[unprobed])
    np.testing.assert_array_equal(posterior.lat[:found], world.geography.lat[ranking.clusters])
    np.testing.assert_array_equal(posterior.lon[:found], world.geography.lon[ranking.clusters])
    np.testing.assert_array_equal(posterior.score, ranking.scores)


@moderate
@given(worlds, scale, st.integers(1, 9))
def test_rankings_fall(world, scales, top_cells):
    for ranking in rank_clusters(world.ann, world.geography, scales, unit(world.rng, 4, DIM), top_cells):
        assert (np.diff(ranking.probability) <= 0).all()
        assert len(set(ranking.clusters.tolist())) == len(ranking.clusters) == len(ranking.scores)


def test_queries_do_not_depend_on_their_company():
    world = World(1)
    queries = unit(world.rng, 600, DIM)
    together = rank_clusters(world.ann, world.geography, Scales(), queries, 3)
    assert len(together) == 600
    for row in (0, 255, 256, 599):
        (alone,) = rank_clusters(world.ann, world.geography, Scales(), queries[row : row + 1], 3)
        assert alone.clusters.tolist() == together[row].clusters.tolist()
        np.testing.assert_allclose(alone.probability, together[row].probability, rtol=1e-4)
    assert rank_clusters(world.ann, world.geography, Scales(), queries[:0], 3) == []


def test_without_scores_the_prior_is_the_share_of_the_gallery():
    world = World(2)
    query = np.zeros((1, DIM), np.float32)
    (off,) = rank_clusters(world.ann, world.geography, Scales(), query, 9)
    (on,) = rank_clusters(world.ann, world.geography, Scales(prior=True), query, 9)
    per_cell = np.bincount(world.cell_of)
    np.testing.assert_allclose(off.probability, 1 / 9 / per_cell[world.cell_of[off.clusters]])
    np.testing.assert_allclose(on.probability, world.images[on.clusters] / world.images.sum())


def test_huge_scales_do_not_overflow():
    world = World(3)
    scores = np.array([[0.9, 0.3] + [-1.0] * 7], np.float32)
    log_p = cell_log_probability(scores, world.geography, Scales(cell=1e5))
    assert np.isfinite(log_p).all()
    assert np.exp(log_p[0, :2]) == pytest.approx([1, 0])
    (ranking,) = rank_clusters(world.ann, world.geography, Scales(1e5, 1e5), world.clusters[:1], 9)
    assert ranking.probability.sum() == pytest.approx(1)


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize(("cell", "cluster"), [(6.0, 12.0), (15.0, 4.0)])
def test_fitting_recovers_the_scales_that_made_the_truth(cell, cluster, prior):
    world = World(4, n_cells=12, n_clusters=70)
    fit = fit_scales(world.ann, world.geography, *world.planted(700, cell, cluster, prior), prior=prior)
    assert fit.scales.cell == pytest.approx(cell, rel=0.15)
    assert fit.scales.cluster == pytest.approx(cluster, rel=0.15)
    assert fit.scales.prior is prior
    assert fit.queries == 700
    assert fit.cell_nats < fit.cell_nats_uniform == pytest.approx(np.log(12))


def nats(world, queries, cell, cluster, scales):
    """Mean -log p of the true cell and of the true cluster inside it."""
    p = [world.probabilities(q, scales) for q in queries]
    of_cell = np.array([p_cell[c] for (p_cell, _), c in zip(p, cell, strict=True)])
    of_cluster = np.array([p_cluster[m] for (_, p_cluster), m in zip(p, cluster, strict=True)])
    return -np.log(of_cell).mean(), -np.log(of_cluster / of_cell).mean()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 3.0, 60.0]), st.booleans())
def test_fitted_scales_are_never_worse_than_the_default(seed, truth, prior):
    world = World(seed)
    planted = world.planted(40, truth, truth)
    fit = fit_scales(world.ann, world.geography, *planted, prior=prior)
    fitted, default = nats(world, *planted, fit.scales), nats(world, *planted, Scales(prior=prior))
    assert (fit.cell_nats, fit.cluster_nats) == pytest.approx(fitted, abs=1e-3)
    assert fit.cell_nats <= default[0] + 1e-3
    assert fit.cluster_nats <= default[1] + 1e-3
    assert SCALE_BOUNDS[0] <= min(fit.scales.cell, fit.scales.cluster)
    assert max(fit.scales.cell, fit.scales.cluster) <= SCALE_BOUNDS[1]


@pytest.mark.parametrize("prior", [False, True])
def test_the_prior_is_chosen_by_the_truth(prior):
    world = World(5)
    planted = world.planted(500, 8.0, 8.0, prior)
    assert fit_scales(world.ann, world.geography, *planted, prior=None).scales.prior is prior
    assert fit_scales(world.ann, world.geography, *planted, prior=not prior).scales.prior is not prior
