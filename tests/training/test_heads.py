import numpy as np
import pytest
import torch

from geoindex.ann import TwoStageIndex
from geoindex.encoder.projection import Projection
from geoindex.training.heads import SCALES, GeoHead, LinearEmbedding


def unit(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_logits_are_scaled_cosines_whatever_the_length_of_rows():
    rows, queries = unit(5), unit(3, seed=1)
    head = GeoHead(7.0 * rows, scale=20.0)
    np.testing.assert_allclose(head(torch.from_numpy(queries)).detach().numpy(), 20.0 * queries @ rows.T, rtol=1e-4)
    np.testing.assert_allclose(head.geo_embeddings(), rows, atol=1e-6)


def test_some_classes_have_the_logits_that_they_have_among_all():
    head, queries = GeoHead(unit(6), 10.0), torch.from_numpy(unit(2, seed=1))
    some = torch.tensor([4, 1])
    torch.testing.assert_close(head(queries, some), head(queries)[:, some])


@pytest.mark.parametrize("start", [1e-3, 1e6])
def test_the_scale_stays_inside_its_bounds(start):
    assert SCALES[0] * 0.999 <= GeoHead(unit(2), start).scale.item() <= SCALES[1] * 1.001


def test_retrieval_ranks_as_the_heads_do_at_both_levels():
    cells, clusters = GeoHead(3.0 * unit(4), 30.0), GeoHead(0.2 * unit(20, seed=1), 5.0)
    cell_of = np.repeat(np.arange(4), 5)
    ann = TwoStageIndex.build(cells.geo_embeddings(), clusters.geo_embeddings(), cell_of)
    queries = unit(30, seed=2)
    clusters_of, scores = ann.clusters_in(queries, np.tile(np.arange(4), (len(queries), 1)))
    ranked = np.take_along_axis(clusters_of.reshape(30, -1), np.argsort(-scores.reshape(30, -1), axis=1), axis=1)
    with torch.no_grad():
        cell_logits = cells(torch.from_numpy(queries)).numpy()
        logits = clusters(torch.from_numpy(queries)).numpy()
    np.testing.assert_array_equal(np.argsort(-ann.cells.exact(queries)), np.argsort(-cell_logits, axis=1))
    np.testing.assert_array_equal(ranked, np.argsort(-logits, axis=1))


def test_the_embedding_is_the_projection_that_it_becomes():
    rng = np.random.default_rng(0)
    mean, matrix = rng.standard_normal(6).astype(np.float32), rng.standard_normal((6, 4)).astype(np.float32)
    features = rng.standard_normal((5, 6)).astype(np.float32)
    learned = LinearEmbedding(mean, matrix)(torch.from_numpy(features)).detach().numpy()
    np.testing.assert_allclose(learned, Projection(mean, matrix).apply(features), atol=1e-6)
