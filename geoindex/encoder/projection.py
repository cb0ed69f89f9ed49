"""The linear map from features to embeddings: centre, multiply, normalise."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoindex.errors import ConfigError, EncoderError

_ROWS, _LEAST = 16_384, np.finfo(np.float64).tiny
DEFAULT_SHRINKAGE = 0.1
"""Share of the mean eigenvalue that is added to every eigenvalue before whitening."""

UNIT_TOLERANCE = 0.01
"""How far the length of an embedding may be from 1; float16 is off by less."""


@dataclass(frozen=True, eq=False)
class Projection:
    """What turns features into embeddings of unit length.

    Attributes:
        mean: subtracted first, (D,) float32.
        matrix: multiplied from the right, (D, dim) float32.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.mean.shape != self.matrix.shape[:1]:
            shapes = f"mean {self.mean.shape}, matrix {self.matrix.shape}"
            raise EncoderError(f"A projection needs a mean (D,) and a matrix (D, dim), not {shapes}; fit it again.")

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self.matrix.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of mean and matrix, 64 hex digits."""
        digest = hashlib.sha256(str(self.matrix.shape).encode())
        for values in (self.mean, self.matrix):
            digest.update(np.ascontiguousarray(values, "<f4").data)
        return digest.hexdigest()

    @cached_property
    def only_normalises(self) -> bool:
        """Whether nothing is subtracted, and the matrix is that of 1."""
        square = self.matrix.shape == (self.dim, self.dim)
        return square and not self.mean.any() and np.array_equal(self.matrix, np.eye(self.dim, dtype=np.float32))

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn features (N, D) into unit vectors (N, dim); what projects to zero stays zero.

        Raises:
            EncoderError: if the features have another length.
        """
        self.check_shape(features.shape)
        projected = features if self.only_normalises else (features - self.mean) @ self.matrix
        # squared as float64, where squares neither overflow nor vanish
        length = np.sqrt(np.einsum("ij,ij->i", projected, projected, dtype=np.float64))
        unit = np.empty(projected.shape, np.float32)
        np.divide(projected, np.maximum(length, _LEAST)[:, None], out=unit, casting="same_kind")
        return unit

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check that features are (N, D).

        Raises:
            EncoderError: if they are not.
        """
        if len(shape) != 2 or shape[1] != len(self.mean):
            wanted = f"(N, {len(self.mean)})"
            raise EncoderError(f"The projection takes features {wanted}, not {tuple(shape)}; use its encoder.")

    def save(self, path: str | Path) -> None:
        """Write it as one safetensors file."""
        from safetensors.numpy import save_file

        save_file({"mean": np.ascontiguousarray(self.mean), "matrix": np.ascontiguousarray(self.matrix)}, path)

    @classmethod
    def load(cls, path: str | Path) -> "Projection":
        """Read what `save` wrote.

        Raises:
            EncoderError: if the file is missing or holds something else.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            values = load_file(path)
            return cls(values["mean"], values["matrix"])
        except (OSError, SafetensorError, KeyError) as error:
            raise EncoderError(f"Cannot read the projection '{path}': {error}; build the index again.") from error

    @classmethod
    def identity(cls, dim: int) -> "Projection":
        """Return the projection that only normalises features of length `dim`."""
        return cls(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))


def mean_direction(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the normalised mean (dim,) of unit vectors (N, dim); one alone comes back as it is."""
    mean: NDArray[np.float32] = embeddings[0]
    if len(embeddings) > 1:
        total = embeddings.sum(axis=0, dtype=np.float64)
        mean = np.asarray(total / (np.linalg.norm(total) or 1.0), np.float32)
    return mean


def numbers_of(embeddings: ArrayLike) -> NDArray[np.float32]:
    """Return embeddings as an array.

    Raises:
        ConfigError: if they are no numbers, or not equally long.
    """
    try:
        return np.asarray(embeddings, np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Embeddings are no array of numbers ({error}); give an array (Q, dim).") from error


def check_units(embeddings: NDArray[np.float32]) -> None:
    """Check that embeddings (N, dim) are unit vectors.

    Raises:
        ConfigError: if one is not.
    """
    length = np.sqrt(np.einsum("qd,qd->q", embeddings, embeddings, dtype=np.float64))
    wrong = np.flatnonzero(~(np.abs(length - 1.0) < UNIT_TOLERANCE))
    if len(wrong):
        raise ConfigError(
            f"Embedding {wrong[0]} has length {length[wrong[0]]:.4g} and is no unit vector; divide each by its length."
        )


def fit_whitening(
    features: NDArray[np.float32], dim: int | None = None, shrinkage: float = DEFAULT_SHRINKAGE
) -> Projection:
    """Fit centring and PCA whitening, with a ridge on the spectrum.

    Component i is divided by `sqrt(eigenvalue_i + shrinkage * mean eigenvalue)`, so that directions in which
    the features hardly vary are not blown up to the strength of the others. Deterministic, signs included.

    Args:
        features: (N, D), N at least 2; N < D works, and components beyond the rank hold nothing.
        dim: components to keep, by falling eigenvalue; None for all D.
        shrinkage: 0 for pure whitening of the directions that vary, large for PCA without whitening.

    Raises:
        ConfigError: if there are too few features, `dim` exceeds D, or `shrinkage` is negative.
    """
    count, length = features.shape
    keep = length if dim is None else dim
    if count < 2:
        raise ConfigError(f"Whitening needs at least 2 features and got {count}; use projection none.")
    if not 1 <= keep <= length:
        raise ConfigError(f"Recipe key 'encoding.dim' is {dim}; it must be 1 to {length}, the length of features.")
    if not 0 <= shrinkage < np.inf:
        raise ConfigError(f"Shrinkage is {shrinkage}; it must be 0 or more.")
    if not np.isfinite(features).all():
        raise ConfigError("Whitening got features that are not finite; embed the images again.")
    mean = features.mean(axis=0, dtype=np.float64)
    values, vectors = _spectrum(features, mean)
    matrix = vectors[:, :keep] * _gains(values, shrinkage)[:keep]
    return Projection(mean.astype(np.float32), matrix.astype(np.float32))


def _spectrum(
    features: NDArray[np.float32], mean: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return eigenvalues (D,), falling, and eigenvectors (D, D) in columns, of the covariance."""
    covariance = _covariance(features, mean)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))]
    return values, vectors * np.where(largest < 0, -1.0, 1.0)


def _covariance(features: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum in float64, a slice at a time, so that no float64 copy of all features is made."""
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), _ROWS):
        centred = features[start : start + _ROWS] - mean
        total += centred.T @ centred
    return total / len(features)


def _gains(values: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """Return what each component is multiplied with; directions without variation get nothing."""
    ridged = values + shrinkage * values.mean()
    varies = values > values[0] * len(values) * np.finfo(np.float64).eps
    gains = np.zeros_like(values)
    gains[varies] = 1.0 / np.sqrt(ridged[varies])
    return gains
