"""What one would search with instead: each rival is built on the same cluster vectors and gives nearest clusters."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

GALLERY = 100_000
"""Points of GeoCLIP's gallery."""

GALLERY_DIM = 512
HIDDEN = 1024
SIGMAS = (1.0, 16.0, 256.0)
"""Scales of GeoCLIP's location encoder, each with a perceptron of its own."""


@dataclass
class Rival:
    """A search that is ready.

    Attributes:
        name: with its settings.
        find: nearest clusters of queries (Q, D) as (Q, k).
        build_s: seconds that it took to build.
        queries: how many are worth waiting for.
    """

    name: str
    find: Callable[[Vectors, int], Rows]
    build_s: float
    queries: int = 200


def timed(build: Callable[[], Any]) -> tuple[Any, float]:
    """Return what was built and the seconds that it took."""
    started = perf_counter()
    built = build()
    return built, perf_counter() - started


def brute_force(vectors: Vectors) -> Rival:
    """numpy: all products, then the best of them."""

    def find(queries: Vectors, k: int) -> Rows:
        scores = queries @ vectors.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return Rival("numpy brute force", find, 0.0)


def flat(vectors: Vectors) -> Rival:
    """FAISS IndexFlatIP."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    _, seconds = timed(lambda: index.add(vectors))
    return Rival("FAISS IndexFlatIP", lambda queries, k: index.search(queries, k)[1], seconds)


def inverted_lists(vectors: Vectors, lists: int, probes: tuple[int, ...]) -> list[Rival]:
    """FAISS IVF whose lists are k-means clusters of the vectors, as one would set it up without geography."""
    import faiss

    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = 6, 64
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    _, seconds = timed(lambda: (index.train(vectors), index.add(vectors)))
    faiss.omp_set_num_threads(1)

    def find(probe: int) -> Callable[[Vectors, int], Rows]:
        parameters: Any = faiss.SearchParametersIVF
        return lambda queries, k: index.search(queries, k, params=parameters(nprobe=probe))[1]

    return [Rival(f"FAISS k-means IVF{lists}, nprobe {probe}", find(probe), seconds) for probe in probes]


def usearch_graph(vectors: Vectors, widths: tuple[int, ...]) -> list[Rival]:
    """HNSW of usearch, float16."""
    try:
        from usearch.index import Index
    except ImportError:
        return []
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
    _, seconds = timed(lambda: index.add(np.arange(len(vectors)), vectors))

    def find(width: int) -> Callable[[Vectors, int], Rows]:
        def search(queries: Vectors, k: int) -> Rows:
            index.expansion_search = width
            return np.asarray(index.search(queries, k, threads=1).keys, np.int64).reshape(len(queries), -1)

        return search

    return [Rival(f"usearch HNSW float16, ef {width}", find(width), seconds) for width in widths]


def lance_index(vectors: Vectors) -> Rival:
    """LanceDB's own vector index, with its default product quantiser and a second look at ten times as many."""
    import lancedb
    import pyarrow as pa

    folder = tempfile.mkdtemp()
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = lancedb.connect(folder).create_table("v", pa.table({"row": np.arange(len(vectors)), "vector": values}))
    lists = int(len(vectors) ** 0.5)
    sizes: dict[str, Any] = {"num_partitions": lists, "num_sub_vectors": vectors.shape[1] // 8}
    _, seconds = timed(lambda: table.create_index(metric="dot", index_type="IVF_PQ", **sizes))

    def find(queries: Vectors, k: int) -> Rows:
        rows = []
        for query in queries:
            search: Any = table.search(query).nprobes(16).refine_factor(10).select(["row", "_distance"]).limit(k)
            rows.append(search.to_arrow()["row"].to_numpy())
        return np.stack(rows)

    return Rival("LanceDB IVF_PQ, nprobes 16, refine 10", find, seconds)


class GeoClipStyle:
    """A gallery of positions whose embeddings a location encoder makes, as GeoCLIP does; its weights are random."""

    def __init__(self) -> None:
        import torch

        torch.manual_seed(0)
        self._frequencies = [torch.randn(2, GALLERY_DIM // 2) * sigma for sigma in SIGMAS]
        sizes = (GALLERY_DIM, HIDDEN, HIDDEN, HIDDEN, GALLERY_DIM)
        self._networks = [_perceptron(sizes) for _ in SIGMAS]
        self._positions = torch.rand(GALLERY, 2)

    def encode(self) -> Any:
        """Return the embeddings of the gallery."""
        import torch

        with torch.inference_mode():
            parts = [self._encode(chunk) for chunk in self._positions.split(4096)]
            return torch.nn.functional.normalize(torch.cat(parts), dim=1)

    def _encode(self, positions: Any) -> Any:
        import torch

        waves = [2 * torch.pi * positions @ frequency for frequency in self._frequencies]
        inputs = [torch.cat([wave.cos(), wave.sin()], dim=1) for wave in waves]
        return sum(network(x) for network, x in zip(self._networks, inputs, strict=True))

    def rivals(self) -> list[Rival]:
        """Return it with its gallery encoded for every query, and once."""
        import torch

        def nearest(gallery: Any, queries: Vectors, k: int) -> Rows:
            with torch.inference_mode():
                return np.asarray((torch.from_numpy(queries[:, :GALLERY_DIM].copy()) @ gallery.T).topk(k).indices)

        gallery, seconds = timed(self.encode)
        return [
            Rival("GeoCLIP-style gallery of 100k, encoded once", lambda q, k: nearest(gallery, q, k), seconds),
            Rival("the same, encoded for each query", lambda q, k: nearest(self.encode(), q, k), 0.0, queries=1),
        ]


def _perceptron(sizes: tuple[int, ...]) -> Any:
    import torch

    layers: list[Any] = []
    for wide, narrow in pairwise(sizes):
        layers += [torch.nn.Linear(wide, narrow), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()
