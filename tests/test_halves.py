"""Inner products with float16 vectors: as exact as float32, for any number of vectors."""

import numpy as np
import pytest

from geoindex.ann import half_products


@pytest.mark.parametrize("count", [1, 7, 300])
@pytest.mark.parametrize("dim", [1, 8, 192, 769])
def test_products_are_as_exact_as_in_float32(count, dim):
    rng = np.random.default_rng(count * dim)
    vectors, query = rng.standard_normal((count, dim)), rng.standard_normal(dim)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    query = (query / np.linalg.norm(query)).astype(np.float32)
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    found = half_products(vectors, query)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-7)


def test_numbers_too_small_for_a_half_are_not_lost():
    query = np.full(64, 2.0**-13, np.float32)
    query[0] = 1.0
    vectors = np.full((3, 64), 0.125, np.float16)
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    np.testing.assert_allclose(half_products(vectors, query), exact, rtol=0, atol=3e-7)


def test_no_vectors_give_no_products():
    assert half_products(np.zeros((0, 8), np.float16), np.zeros(8, np.float32)).shape == (0,)
