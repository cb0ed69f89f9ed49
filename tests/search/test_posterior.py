import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import DIM, World, unit

from geoindex.ann import TwoStageIndex
from geoindex.ann.cells import PACKED_CELLS
from geoindex.search.first_stage import GROUPS
from geoindex.search.posterior import Breadth, Ranker, Scales

worlds = st.builds(World, st.integers(0, 10**6), st.just(9), st.integers(9, 60))
scale = st.sampled_from([Scales(), Scales(5.0, 90.0), Scales(20.0, 20.0, True), Scales(300.0, 0.5, True)])
moderate = settings(max_examples=25, deadline=None)


@moderate
@given(worlds, scale)
def test_probabilities_sum_to_one_when_every_cell_is_probed(world, scales):
    for ranking in world.rank(scales, unit(world.rng, 3, DIM), 9):
        assert sorted(ranking.clusters) == list(range(len(world.clusters)))
        assert ranking.probability.sum() == pytest.approx(1, abs=1e-5)
        assert ranking.posterior.probability.tolist() == ranking.probability.tolist()


@moderate
@given(worlds, scale, st.integers(1, 12))
def test_probabilities_follow_their_definition(world, scales, top_cells):
    query = unit(world.rng, DIM)
    p_cell, p_cluster = world.probabilities(query, scales)
    (ranking,) = world.rank(scales, query[None], top_cells)
    probed = np.argsort(-p_cell, kind="stable")[:top_cells]
    assert sorted(ranking.clusters) == np.flatnonzero(np.isin(world.cell_of, probed)).tolist()
    np.testing.assert_allclose(ranking.probability, p_cluster[ranking.clusters], rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(ranking.scores, world.clusters[ranking.clusters] @ query, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_with_the_prior_the_most_probable_cells_are_probed(seed):
    world, scales = World(seed, n_cells=30, n_clusters=90), Scales(2.0, 2.0, prior=True)
    queries = unit(world.rng, 20, DIM)
    for query, ranking in zip(queries, world.rank(scales, queries, 3), strict=True):
        p_cell, _ = world.probabilities(query, scales)
        assert set(world.cell_of[ranking.clusters]) == set(np.argsort(-p_cell, kind="stable")[:3])


@moderate
@given(worlds, scale, st.integers(1, 9))
def test_the_posterior_holds_the_cells_that_were_not_probed(world, scales, top_cells):
    query = unit(world.rng, DIM)
    p_cell, _ = world.probabilities(query, scales)
    (ranking,) = world.rank(scales, query[None], top_cells)
    posterior, found = ranking.posterior, len(ranking.clusters)
    unprobed = np.setdiff1d(np.arange(9), world.cell_of[ranking.clusters])
    assert len(unprobed) == 9 - top_cells
    assert posterior.probability.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(posterior.probability[found:], p_cell[unprobed], rtol=1e-3, atol=1e-12)
    np.testing.assert_array_equal(posterior.lat[found:], world.geography.cell_lat[unprobed])
    np.testing.assert_array_equal(posterior.lon[found:], world.geography.cell_lon[unprobed])
    np.testing.assert_array_equal(posterior.lat[:found], world.geography.lat[ranking.clusters])
    np.testing.assert_array_equal(posterior.lon[:found], world.geography.lon[ranking.clusters])
    np.testing.assert_array_equal(posterior.score, ranking.scores)


@moderate
@given(worlds, scale, st.integers(1, 9))
def test_rankings_fall(world, scales, top_cells):
    for ranking in world.rank(scales, unit(world.rng, 4, DIM), top_cells):
        assert (np.diff(ranking.probability) <= 0).all()
        assert len(set(ranking.clusters.tolist())) == len(ranking.clusters) == len(ranking.scores)


def test_queries_do_not_depend_on_their_company():
    world = World(1)
    queries = unit(world.rng, 600, DIM)
    together = world.rank(Scales(), queries, 3)
    assert len(together) == 600
    for row in (0, 255, 256, 599):
        (alone,) = world.rank(Scales(), queries[row : row + 1], 3)
        assert alone.clusters.tolist() == together[row].clusters.tolist()
        np.testing.assert_allclose(alone.probability, together[row].probability, rtol=1e-4)
    assert world.rank(Scales(), queries[:0], 3) == []


def test_without_scores_the_prior_is_the_share_of_the_gallery():
    world = World(2)
    query = np.zeros((1, DIM), np.float32)
    (off,) = world.rank(Scales(), query, 9)
    (on,) = world.rank(Scales(prior=True), query, 9)
    per_cell = np.bincount(world.cell_of)
    np.testing.assert_allclose(off.probability, 1 / 9 / per_cell[world.cell_of[off.clusters]], rtol=1e-5)
    np.testing.assert_allclose(on.probability, world.images[on.clusters] / world.images.sum(), rtol=1e-5)


def test_locatability_is_the_entropy_that_is_lost():
    world = World(2)
    (nothing,) = world.rank(Scales(prior=True), np.zeros((1, DIM), np.float32), 3)
    (some,) = world.rank(Scales(3.0), world.cells[:1], 3)
    (all_of_it,) = world.rank(Scales(1e5), world.cells[:1], 3)
    p, own = world.probabilities(world.cells[0], Scales(3.0))[0], world.cell_images / world.cell_images.sum()
    assert nothing.locatability == pytest.approx(0, abs=1e-6)
    assert some.locatability == pytest.approx(1 - (p @ np.log(p)) / (own @ np.log(own)), abs=1e-5)
    assert all_of_it.locatability == pytest.approx(1)


def test_locatability_in_a_region_is_against_its_own_cells():
    world = World(2)
    inside = np.isin(world.cell_of, [1, 4, 5])
    (nothing,) = world.rank(Scales(prior=True), np.zeros((1, DIM), np.float32), 2, inside=inside)
    (single,) = world.rank(Scales(), world.cells[:1], 2, inside=world.cell_of == 4)
    assert nothing.locatability == pytest.approx(0, abs=1e-6)
    assert single.locatability == 1.0


def test_huge_scales_do_not_overflow():
    world = World(3)
    (ranking,) = world.rank(Scales(1e5, 1e5), world.clusters[:1], 9)
    assert ranking.probability.sum() == pytest.approx(1)


def crowded(seed=0, n_cells=PACKED_CELLS + 100):
    """A world with so many cells that they are estimated first."""
    return World(seed, n_cells=n_cells, n_clusters=n_cells + 800)


@pytest.mark.parametrize("scales", [Scales(), Scales(3.0, 9.0, True), Scales(200.0, 60.0)])
@pytest.mark.parametrize("world", [crowded(), crowded(2, 9 * GROUPS + 100)], ids=["many cells", "more"])
@pytest.mark.parametrize("top_cells", [7, 40])
def test_many_cells_are_probed_in_their_exact_order(scales, world, top_cells):
    queries = unit(world.rng, 40, DIM)
    for query, ranking in zip(queries, world.rank(scales, queries, top_cells), strict=True):
        p_cell, p_cluster = world.probabilities(query, scales)
        assert set(world.cell_of[ranking.clusters]) == set(np.argsort(-p_cell)[:top_cells])
        np.testing.assert_allclose(ranking.probability, p_cluster[ranking.clusters], rtol=0.05, atol=1e-12)
        assert ranking.posterior.probability.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("world", [World(6, 30, 90), crowded(1)], ids=["few cells", "many cells"])
def test_only_what_is_inside_is_answered(world):
    inside = world.rng.random(len(world.clusters)) < 0.05
    inside[world.cell_of == world.cell_of[0]] = True  # a cell that is inside whole
    possible = set(world.cell_of[inside])
    queries = unit(world.rng, 10, DIM)
    for ranking in world.rank(Scales(prior=True), queries, 8, inside=inside):
        probed = set(world.cell_of[ranking.clusters])
        assert inside[ranking.clusters].all()
        assert len(probed) == min(8, len(possible))
        assert set(ranking.unprobed) == possible - probed
        assert ranking.posterior.probability.sum() == pytest.approx(1, abs=1e-5)
    (every,) = world.rank(Scales(prior=True), queries[:1], 10_000, inside=inside)
    assert sorted(every.clusters) == np.flatnonzero(inside).tolist()
    assert len(every.unprobed) == 0


@pytest.mark.parametrize("world", [World(6, 30, 90), crowded(1)], ids=["few cells", "many cells"])
def test_cells_outside_are_not_read(world):
    inside = np.isin(world.cell_of, [3, 7, 8, 20])
    (before,) = world.rank(Scales(), world.cells[7:8], 3, inside=inside)
    world.ann.cells.vectors[~np.isin(np.arange(len(world.cells)), [3, 7, 8, 20])] = np.nan
    (after,) = world.rank(Scales(), world.cells[7:8], 3, inside=inside)
    assert after.clusters.tolist() == before.clusters.tolist()
    np.testing.assert_array_equal(after.probability, before.probability)
    assert len(set(world.cell_of[after.clusters])) == 3
    assert len(after.unprobed) == 1


def test_many_cells_of_a_region_are_probed_in_their_exact_order():
    world = World(5, n_cells=3 * PACKED_CELLS, n_clusters=4 * PACKED_CELLS)
    inside = world.cell_of % 5 < 2  # still so many that they are estimated
    queries = unit(world.rng, 20, DIM)
    for query, ranking in zip(queries, world.rank(Scales(), queries, 7, inside=inside), strict=True):
        p_cell, _ = world.probabilities(query, Scales())
        p_cell = np.where(np.arange(len(p_cell)) % 5 < 2, p_cell, 0.0)
        assert set(world.cell_of[ranking.clusters]) == set(np.argsort(-p_cell)[:7])
        assert ranking.posterior.probability.sum() == pytest.approx(1, abs=1e-5)


def test_a_cell_counts_by_the_share_that_is_inside():
    world = World(7)
    inside = np.arange(len(world.clusters)) % 2 == 0
    held = np.bincount(world.cell_of, world.images * inside, 9)
    (off,) = world.rank(Scales(), np.zeros((1, DIM), np.float32), 9, inside=inside)
    (on,) = world.rank(Scales(prior=True), np.zeros((1, DIM), np.float32), 9, inside=inside)
    share = held / world.cell_images / (held / world.cell_images).sum()
    per_cell = np.bincount(world.cell_of, inside)
    cell = world.cell_of[off.clusters]
    np.testing.assert_allclose(off.probability, share[cell] / per_cell[cell], rtol=1e-5)
    np.testing.assert_allclose(on.probability, world.images[on.clusters] / held.sum(), rtol=1e-5)


@pytest.mark.parametrize("top_p", [0.3, 0.9])
def test_no_more_cells_are_probed_than_hold_the_mass(top_p):
    world, scales = World(9, n_cells=40, n_clusters=200), Scales(6.0, 6.0)
    queries = unit(world.rng, 20, DIM)
    counts = []
    for query, ranking in zip(queries, world.rank(scales, queries, 30, top_p=top_p), strict=True):
        p = np.sort(world.probabilities(query, scales)[0])[::-1]
        wanted = min(30, int(np.searchsorted(np.cumsum(p), top_p)) + 1)
        counts.append(len(set(world.cell_of[ranking.clusters])))
        assert counts[-1] == wanted
        assert ranking.posterior.probability.sum() == pytest.approx(1, abs=1e-5)
    assert len(set(counts)) > 1


def test_clusters_of_the_same_probability_come_by_their_number():
    world, query = World(3), unit(np.random.default_rng(0), DIM)
    twins = np.flatnonzero(world.cell_of == np.bincount(world.cell_of).argmax())
    clusters = world.clusters.copy()
    clusters[twins] = clusters[twins[0]]
    ann = TwoStageIndex.build(world.cells, clusters, world.cell_of)
    (ranking,) = Ranker.of(ann, world.geography, Scales()).rank(query[None], Breadth(9))
    ranked = ranking.clusters[np.isin(ranking.clusters, twins)]
    assert ranked.tolist() == twins.tolist()
    assert len(twins) > 5
    assert (np.diff(ranking.probability) <= 0).all()


def test_queries_that_take_much_memory_are_ranked_a_few_at_a_time(monkeypatch):
    world = World(5, n_cells=30, n_clusters=90)
    queries = unit(world.rng, 20, DIM)
    wanted, asked = world.rank(Scales(), queries, 30), []
    monkeypatch.setattr(
        "geoindex.search.posterior.CHUNK_BYTES", 3 * 30 * (4 * DIM + 40 * int(np.bincount(world.cell_of).max()))
    )
    chunk = Ranker._rank_chunk
    monkeypatch.setattr(
        Ranker, "_rank_chunk", lambda self, part, breadth: asked.append(len(part)) or chunk(self, part, breadth)
    )
    found = world.rank(Scales(), queries, 30)
    assert sorted(asked) == [2, 3, 3, 3, 3, 3, 3]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.probability, other.probability, rtol=1e-4)
