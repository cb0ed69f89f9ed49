import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import World

from geoindex.search.posterior import Scales
from geoindex.search.scaling import SCALE_BOUNDS, fit_scales


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


def test_queries_count_by_their_weight():
    world = World(6)
    one, other = world.planted(60, 30.0, 30.0), world.planted(60, 3.0, 3.0)
    both = [np.concatenate(pair) for pair in zip(one, other, strict=True)]
    alone, among = (
        fit_scales(world.ann, world.geography, *queries, False, weight).scales
        for queries, weight in ((one, None), (both, np.repeat([1 / 60, 1e-12], 60)))
    )
    assert (among.cell, among.cluster) == pytest.approx((alone.cell, alone.cluster), rel=1e-3)
