import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoindex.encoder import Projection, fit_whitening
from geoindex.errors import ConfigError, EncoderError


def cloud(count, length, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, length)) @ rng.normal(size=(length, length))
    return (mixed + 5).astype(np.float32)


def whitened(projection, features):
    return (features - projection.mean) @ projection.matrix


def test_without_shrinkage_the_covariance_is_the_identity():
    features = cloud(500, 8)
    values = whitened(fit_whitening(features, shrinkage=0.0), features)
    assert np.allclose(values.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(values.T @ values / 500, np.eye(8), atol=1e-3)


def test_components_fall_in_variance():
    features = cloud(500, 8)
    variances = whitened(fit_whitening(features, dim=5, shrinkage=0.3), features).var(axis=0)
    assert len(variances) == 5
    assert (np.diff(variances) < 0).all()


def test_shrinkage_keeps_weak_directions_weak():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(4000, 2)).astype(np.float32) * [100.0, 0.01]
    pure, shrunk = (whitened(fit_whitening(features, shrinkage=s), features).std(axis=0) for s in (0.0, 0.1))
    assert pure == pytest.approx([1, 1], rel=1e-3)
    # variances 1e4 and 1e-4, ridge 0.1 * 5e3
    assert shrunk[0] == pytest.approx((1e4 / (1e4 + 500)) ** 0.5, rel=0.02)
    assert shrunk[1] == pytest.approx((1e-4 / 500) ** 0.5, rel=0.05)


def test_fewer_features_than_dimensions():
    features = cloud(5, 40)
    projection = fit_whitening(features)
    embeddings = projection.apply(features)
    assert embeddings.shape == (5, 40)
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert np.allclose(projection.matrix[:, 4:], 0)


def test_equal_features_project_to_zero():
    projection = fit_whitening(np.full((4, 3), 2.5, np.float32))
    assert not projection.apply(np.full((2, 3), 2.5, np.float32)).any()


def test_the_order_of_features_does_not_flip_signs():
    features = cloud(200, 6)
    forward, backward = fit_whitening(features), fit_whitening(features[::-1])
    assert np.allclose(forward.matrix, backward.matrix, rtol=1e-4, atol=1e-6)
    assert forward.fingerprint == fit_whitening(features.copy()).fingerprint


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (6, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_embeddings_are_unit_or_zero(features):
    lengths = np.linalg.norm(Projection.identity(4).apply(features), axis=1)
    assert (np.isclose(lengths, 1, atol=1e-5) | (lengths == 0)).all()
    assert np.array_equal(lengths == 0, ~features.any(axis=1))


def test_identity_only_normalises():
    features = np.array([[3, 4], [0, 0]], np.float32)
    assert np.allclose(Projection.identity(2).apply(features), [[0.6, 0.8], [0, 0]])
    assert Projection.identity(2).apply(features).dtype == np.float32
    assert Projection.identity(2).apply(features[:0]).shape == (0, 2)


def test_it_survives_the_disk(tmp_path):
    projection = fit_whitening(cloud(50, 6), dim=3)
    projection.save(tmp_path / "p.safetensors")
    loaded = Projection.load(tmp_path / "p.safetensors")
    assert (loaded.fingerprint, loaded.dim) == (projection.fingerprint, 3)
    assert np.array_equal(loaded.matrix, projection.matrix)
    assert loaded.fingerprint != Projection.identity(6).fingerprint


def test_what_cannot_be_fitted_or_applied(tmp_path):
    for features, options in (
        (cloud(1, 3), {}),
        (cloud(9, 3), {"dim": 4}),
        (cloud(9, 3), {"dim": 0}),
        (cloud(9, 3), {"shrinkage": -1.0}),
        (np.full((3, 3), np.nan, np.float32), {}),
    ):
        with pytest.raises(ConfigError):
            fit_whitening(features, **options)
    with pytest.raises(EncoderError, match=r"\(N, 3\)"):
        Projection.identity(3).apply(np.zeros((2, 4), np.float32))
    with pytest.raises(EncoderError, match="mean"):
        Projection(np.zeros(2, np.float32), np.zeros((3, 3), np.float32))
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    for name in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(EncoderError, match=name):
            Projection.load(tmp_path / name)
