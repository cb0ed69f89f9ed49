"""How fast is this index on this machine? Opening, each step of a query, batches, and what the first stage finds."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import ConfigError, ModelMismatchError
from geoindex.index import GeoIndex, open_index
from geoindex.lookahead import available_cores
from geoindex.progress import track
from geoindex.search.posterior import Breadth
from geoindex.store.address import place_of

BATCHES = (1, 32, 256)
WARM_UP = 10
NOISE = 1.0
"""Norm of the noise that is added to a stored embedding to make a query: half of the query's energy."""

PHOTO = (720, 960)
"""Height and width of the made-up photo that whole queries are timed with."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one step.

    Attributes:
        step: its name.
        batch: queries at once.
        p50_ms, p95_ms, p99_ms: percentiles of a query's share, in milliseconds.
        count: calls that were timed.
    """

    step: str
    batch: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    count: int


@dataclass(frozen=True, slots=True)
class Bench:
    """What was measured.

    Attributes:
        index, generation: what answered.
        images, cells, clusters: what it holds.
        entries: how the geo-embeddings of clusters are stored.
        threads: cores that batches share; single queries take one.
        open_ms: opening, without the encoder.
        encoder_ms: loading the encoder; None without one.
        backend: what computes the encoder; None without one.
        top_cells: cells that were probed.
        cell_recall: share of the exact best cells, by float32 products with all, that were probed.
        timings: by step and batch.
    """

    index: str
    generation: str
    images: int
    cells: int
    clusters: int
    entries: str
    threads: int
    open_ms: float
    encoder_ms: float | None
    backend: str | None
    top_cells: int
    cell_recall: float
    timings: tuple[Timing, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {"schema": 1, **asdict(self)}

    def to_text(self) -> str:
        """Return it for a terminal."""
        encoder = "" if self.encoder_ms is None else f", its encoder ({self.backend}) in {self.encoder_ms:,.0f} ms"
        lines = [
            f"{self.index}: generation {self.generation}, {self.images:,} images in {self.cells:,} cells and "
            f"{self.clusters:,} clusters ({self.entries})",
            f"opened in {self.open_ms:,.0f} ms{encoder}",
            f"{100 * self.cell_recall:.2f} % of the exact best {self.top_cells} cells are probed",
            "",
            f"{'ms a query':<28}{'batch':>6}{'p50':>10}{'p95':>10}{'p99':>10}",
        ]
        for t in self.timings:
            lines.append(f"{t.step:<28}{t.batch:>6}{t.p50_ms:>10.2f}{t.p95_ms:>10.2f}{t.p99_ms:>10.2f}")
        return "\n".join([*lines, "", f"batches on {self.threads} cores; queries are stored embeddings with noise"])


def bench_index(
    path: str | os.PathLike[str], *, queries: int = 200, device: str = "auto", backend: str = "auto"
) -> Bench:
    """Measure an index with queries made of its own embeddings, and a made-up photo if it has an encoder.

    Args:
        path: its folder, or its URL.
        queries: calls of each step that are timed.
        device: where the encoder computes.
        backend: what computes in it; see `open_index`.

    Raises:
        StoreError: if there is no index, or it is damaged.
        ConfigError: if there are fewer than one query.
    """
    if queries < 1:
        raise ConfigError(f"queries is {queries}; it must be at least 1.")
    started = perf_counter()
    index = open_index(path, device=device, backend=backend)
    open_ms = 1000 * (perf_counter() - started)
    counts, searcher = index.manifest.counts, index.searcher
    top_cells = min(int(index.manifest.recipe["search"]["top_cells"]), searcher.ann.n_cells)
    asked = _queries(index, max(queries, max(BATCHES)))
    encoder_ms, whole = _whole_query(index, min(queries, 30))
    timings = [_search(index, asked, batch, top_cells, queries) for batch in BATCHES]
    timings.append(_timing("answer to an embedding", 1, queries, lambda i: index.query_embeddings(_part(asked, i, 1))))
    return Bench(
        index=str(place_of(path)), generation=index.manifest.generation, images=counts["gallery"],
        cells=counts["cells"], clusters=counts["clusters"], entries=str(searcher.ann.entries),
        threads=available_cores(), open_ms=open_ms, encoder_ms=encoder_ms,
        backend=None if encoder_ms is None else index.encoder.backend, top_cells=top_cells,
        cell_recall=_cell_recall(index, asked[:queries], top_cells), timings=(*timings, *whole),
    )  # fmt: skip


def _queries(index: GeoIndex, count: int) -> NDArray[np.float32]:
    """Return stored embeddings with noise, (count, D) unit vectors."""
    gallery = index.searcher.sidecar.gallery
    live = np.flatnonzero(gallery.live())
    stored = gallery.vectors(np.resize(live[:: max(1, len(live) // count)], count)).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(stored.shape).astype(np.float32)
    asked = stored + np.float32(NOISE / stored.shape[1] ** 0.5) * noise
    unit: NDArray[np.float32] = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    return unit


def _part(queries: NDArray[np.float32], call: int, batch: int) -> NDArray[np.float32]:
    start = call * batch % max(1, len(queries) - batch + 1)
    return queries[start : start + batch]


def _search(index: GeoIndex, asked: NDArray[np.float32], batch: int, top_cells: int, queries: int) -> Timing:
    breadth, count = Breadth(top_cells), max(queries // batch, WARM_UP)
    return _timing("search", batch, count, lambda i: index.snapshot.rank(_part(asked, i, batch), breadth))


def _timing(step: str, batch: int, count: int, call: Callable[[int], Any]) -> Timing:
    for i in range(min(count, WARM_UP)):
        call(i)
    times = []
    for i in track(range(count), step, total=count, unit="call"):
        started = perf_counter()
        call(i)
        times.append(1000 * (perf_counter() - started) / batch)
    return _percentiles(step, batch, times)


def _percentiles(step: str, batch: int, times_ms: list[float]) -> Timing:
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99)).tolist()
    return Timing(step, batch, p50, p95, p99, len(times_ms))


def _whole_query(index: GeoIndex, count: int) -> tuple[float | None, list[Timing]]:
    """Return how long the encoder took to load, and the steps of a photo's query; nothing without an encoder."""
    started = perf_counter()
    try:
        _ = index.encoder
    except ModelMismatchError:  # it was built from ready embeddings
        return None, []
    loaded_ms, photo = 1000 * (perf_counter() - started), _photo()
    for _ in range(3):
        index.query_image(photo)
    answers = [
        index.query_image(photo).timings_ms for _ in track(range(count), "whole queries", total=count, unit="call")
    ]
    steps = [_percentiles(f"photo: {step}", 1, [times[step] for times in answers]) for step in answers[0]]
    return loaded_ms, [*steps, _percentiles("photo: all of it", 1, [sum(times.values()) for times in answers])]


def _photo() -> bytes:
    """Return a JPEG of smooth random colours, which costs about what a photo of its size does."""
    from io import BytesIO

    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (PHOTO[0] // 16, PHOTO[1] // 16, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(coarse).resize(PHOTO[::-1], Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _cell_recall(index: GeoIndex, asked: NDArray[np.float32], top_cells: int) -> float:
    """Return the share of the exact most probable cells that a search probes."""
    ranker = index.searcher.ranker
    logits = ranker.scales.cell * ranker.ann.cells.exact(asked) + ranker.weights.cell
    exact = np.argsort(-logits, axis=1)[:, :top_cells]
    found = [ranker.geography.cell[ranking.clusters] for ranking in index.snapshot.rank(asked, Breadth(top_cells))]
    return float(np.mean([np.isin(row, cells).mean() for row, cells in zip(exact, found, strict=True)]))
