"""What does a GPU do with queries: single images recorded or not, large batches, and the search by FAISS and by torch?

    python benchmarks/gpu.py [--quick] [--device cuda] [--part encoder search] [--folder DIR] [--json FILE]

The limit comes first: matrix products of large squares, and the bytes of the weights at the speed at which the device
copies memory, which is what a single image cannot be faster than. Then the encoders in the arithmetic that they take
by themselves, and the search over the planted levels of `latency.py` beside the processor's, with the share of queries
that both rank alike. `--device cpu` tries the program where there is no GPU; its figures say nothing about one.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import faiss
import numpy as np
import torch
from latency import DEFAULT_CELLS, QUICK_SIZES, SIZES, prepare
from machine import describe_machine, markdown_table, shared_folder
from planted_levels import planted_queries

from geoindex.ann.gpu_lists import GpuLists
from geoindex.encoder import Encoder, load_encoder
from geoindex.encoder.recorded import RECORD_AT
from geoindex.recipe import EncoderRecipe
from geoindex.search.device_lists import TorchLists, put
from geoindex.search.device_ranker import Copies, DeviceRanker
from geoindex.search.posterior import Breadth, Ranker, Ranking

MODELS = {
    "ViT-B/32": ("open_clip:ViT-B-32/random?seed=0", 8.8),
    "ViT-L/14": ("open_clip:ViT-L-14/random?seed=0", 162.0),
}
"""Encoders and the GFLOP of an image."""

QUICK_MODELS = {"DeiT-tiny": ("timm:deit_tiny_patch16_224/random", 2.5)}
SQUARE = {"cuda": 8192, "cpu": 1024}
BATCHES = (1, 32, 256, 1024)
QUICK_BATCHES = (1, 32)


def seconds(call: Callable[[], Any], count: int, device: torch.device) -> float:
    """Return the median time of a call, with all that the device does for it."""
    times = []
    for _ in range(count + 3):
        started = perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(perf_counter() - started)
    return median(times[3:])


def measure_limit(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Return the rate of large matrix products in TFLOP/s, and of copies in GB/s, read and written together."""
    side = SQUARE[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    products = 2.0 * side**3 / seconds(lambda: left @ right, 20, device) / 1e12
    data = torch.zeros(2**28 if device.type == "cuda" else 2**24, device=device)
    other = torch.empty_like(data)
    copies = 2.0 * data.nbytes / seconds(lambda: other.copy_(data), 20, device) / 1e9
    return {"tflop_per_s": products, "gb_per_s": copies}


def measure_encoder(
    spec: str, gflop: float, device: str, batches: tuple[int, ...], count: int
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the limit in the arithmetic of an encoder, and its times by batch, single images recorded and not."""
    encoder = load_encoder(spec, EncoderRecipe(device=device))
    there = torch.device(encoder.device)
    limit = measure_limit(there, getattr(torch, encoder.dtype))
    rows = [_encode(encoder, batch, count, gflop, limit) for batch in batches]
    recorded, encoder._backbone._single = encoder._backbone._single, None
    if recorded is not None and recorded._recording is not None:
        rows[0]["work"] = "one image, recorded"
        rows.insert(0, _encode(encoder, 1, count, gflop, limit) | {"work": "one image, kernel by kernel"})
    return limit | {"weights_ms": encoder.weight_bytes / limit["gb_per_s"] / 1e6}, rows


def _encode(encoder: Encoder, batch: int, count: int, gflop: float, limit: dict[str, float]) -> dict[str, Any]:
    side = encoder.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, side, side), np.uint8)
    for _ in range(RECORD_AT):
        encoder.features(pixels)
    spent = seconds(lambda: encoder.features(pixels), max(5, count // batch), torch.device(encoder.device))
    rate = batch * gflop / spent / 1000
    return {
        "work": "one image" if batch == 1 else f"batches of {batch}", "dtype": encoder.dtype,
        "ms": 1000 * spent, "images_per_s": batch / spent,
        "of_matmul_rate": rate / limit["tflop_per_s"],
    }  # fmt: skip


def rankers(ranker: Ranker, device: torch.device) -> dict[str, Any]:
    """Return what ranks: the processor, and both ways of the device; FAISS only where it has one."""
    cells = put(ranker.ann.cells.vectors, device)
    found: dict[str, Any] = {"processor": ranker}
    found["torch"] = DeviceRanker(ranker, Copies(cells, TorchLists(ranker.ann, device)))
    if device.type == "cuda" and faiss.get_num_gpus() > 0:
        try:
            found["FAISS"] = DeviceRanker(ranker, Copies(cells, GpuLists(ranker.ann, cells.device)))
        except RuntimeError as error:
            print(f"FAISS does not search there: {error}")
    return found


def same(own: list[Ranking], wanted: list[Ranking]) -> float:
    """Return the share of queries with the same best clusters in the same order."""
    pairs = zip(own, wanted, strict=True)
    return float(np.mean([a.clusters[:10].tolist() == b.clusters[:10].tolist() for a, b in pairs]))


def measure_search(
    folder: Path, positions: Path | None, size: tuple[int, int], device: str, batches: tuple[int, ...], count: int
) -> list[dict[str, Any]]:
    """Return the time of a query by ranker and batch."""
    _, ranker = prepare(folder, positions, *size)
    queries = planted_queries(positions, 1024, 0.0, size[1]).embeddings
    breadth, there, rows = Breadth(DEFAULT_CELLS), torch.device(device), []
    wanted = ranker.rank(queries[:256], breadth)
    for name, each in rankers(ranker, there).items():
        alike = same(each.rank(queries[:256], breadth), wanted)
        for batch in batches:
            asked = queries[:batch] if name == "processor" else put(queries[:batch], there)
            spent = seconds(lambda e=each, a=asked: e.rank(a, breadth), max(9, count // batch), there)
            rows.append(
                {"size": size, "search": name, "batch": batch, "ms_a_query": 1000 * spent / batch, "same": alike}
            )
    return rows


def encoder_table(name: str, limit: dict[str, float], rows: list[dict[str, Any]]) -> str:
    """Return figures of an encoder as Markdown."""
    first = (
        f"{name}, {rows[0]['dtype']}: large squares {limit['tflop_per_s']:.1f} TFLOP/s, copies "
        f"{limit['gb_per_s']:,.0f} GB/s, at which its weights are read in {limit['weights_ms']:.3f} ms"
    )
    cells = [
        (row["work"], f"{row['ms']:.3f}", f"{row['images_per_s']:,.1f}", f"{100 * row['of_matmul_rate']:.1f} %")
        for row in rows
    ]
    return f"{first}\n\n{markdown_table(('work', 'ms', 'images/s', 'of the matmul rate'), cells, 1)}"


def search_table(rows: list[dict[str, Any]]) -> str:
    """Return figures of searches as Markdown."""
    cells = [
        (
            "{:,} / {:,}".format(*row["size"]), row["search"], str(row["batch"]), f"{row['ms_a_query']:.4f}",
            f"{100 * row['same']:.1f}",
        )
        for row in rows
    ]  # fmt: skip
    return markdown_table(("cells / clusters", "search", "batch", "ms a query", "same ten %"), cells, 2)


def main() -> None:
    """Measure what was asked for, print tables, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small model and small indexes")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--part", nargs="+", choices=["encoder", "search"], default=["encoder", "search"])
    parser.add_argument("--folder", type=Path, default=Path("latency-levels"), help="where planted vectors stay")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.exit(1, "No GPU here; nothing to measure. --device cpu tries the program.\n")
    shared, results = shared_folder(), {"machine": describe_machine(), "device": options.device}
    positions = shared / "data" / "tables" / "streetview_positions_166k.csv" if shared else None
    models, sizes, batches, count = MODELS, SIZES[1:], BATCHES, 400
    if options.quick:
        models, sizes, batches, count = QUICK_MODELS, QUICK_SIZES, QUICK_BATCHES, 20
    if "encoder" in options.part:
        results["encoder"] = {
            name: measure_encoder(*model, options.device, batches, count) for name, model in models.items()
        }
        print("\n\n".join(encoder_table(name, *found) for name, found in results["encoder"].items()), end="\n\n")
    if "search" in options.part:
        found = [measure_search(options.folder, positions, size, options.device, batches, count) for size in sizes]
        results["search"] = [row for rows in found for row in rows]
        print(search_table(results["search"]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
