"""How near does the forward pass of an encoder come to what this machine can multiply, and what does each backend cost?

    python benchmarks/encoder.py [--quick] [--rounds 12] [--photos 1000] [--part speed photos] [--json FILE]

The limit comes first: the multiplications of ViT-B/32 at the rate that the best library here has for matrices of the
model's own shapes. Each shape is measured with as many different weights as the model has layers, because those do not
stay in a cache either; rates for large squares are beside them. Then all backends in one process, in turns (five calls
each, after one that is not counted), their start in processes of their own, and with the folder of real data, features
and nearest neighbours of DeiT-tiny on real photos beside those of torch.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from machine import apart, describe_machine, shared_folder
from numpy.typing import NDArray

SPEC = "open_clip:ViT-B-32/random?seed=0"
REAL = "timm:deit_tiny_patch16_224"
LAYERS, TOKENS, WIDTH, HEADS = 12, 50, 768, 12
SHAPES = {
    "queries, keys, values": (TOKENS, WIDTH, 3 * WIDTH),
    "attention's output": (TOKENS, WIDTH, WIDTH),
    "up": (TOKENS, WIDTH, 4 * WIDTH),
    "down": (TOKENS, 4 * WIDTH, WIDTH),
}
"""Rows, depth and columns of the products of one layer of ViT-B/32 for one image."""

SQUARE = (2048, 2048, 2048)
CALLS = 5
SETUPS = {
    "torch": ("torch", "float32"),
    "onnx": ("onnx", "float32"),
    "openvino": ("openvino", "float32"),
    "onnx-int8": ("onnx-int8", "float32"),
    "openvino, bfloat16": ("openvino", "bfloat16"),
}
Work = Callable[[], Any]


def flops(shape: tuple[int, int, int]) -> float:
    """Return the operations of one matrix product."""
    return 2.0 * shape[0] * shape[1] * shape[2]


def model_flops() -> dict[str, float]:
    """Return the operations of ViT-B/32 for one image by what they are for; `others` are not in `SHAPES`."""
    by_shape = {name: LAYERS * flops(shape) for name, shape in SHAPES.items()}
    attention = LAYERS * HEADS * 2 * flops((TOKENS, WIDTH // HEADS, TOKENS))
    patches, projection = flops((TOKENS - 1, 3 * 32 * 32, WIDTH)), flops((1, WIDTH, 512))
    return by_shape | {"others": attention + patches + projection}


def products(shape: tuple[int, int, int]) -> dict[str, Work]:
    """Return by library what multiplies one matrix by `LAYERS` different ones; by one where they are large."""
    import torch

    rows, depth, columns = shape
    count = 1 if shape == SQUARE else LAYERS
    rng = np.random.default_rng(0)
    left = rng.random((rows, depth), np.float32)
    rights = [rng.random((depth, columns), np.float32) for _ in range(count)]
    tensor, tensors = torch.from_numpy(left), [torch.from_numpy(right) for right in rights]
    return {
        "numpy": lambda: [left @ right for right in rights],
        "torch": lambda: [tensor @ right for right in tensors],
        "openvino": _openvino_products(left, rights),
    }


def _openvino_products(left: NDArray[np.float32], rights: list[NDArray[np.float32]]) -> Work:
    from geoindex.encoder.openvino_graph import silent_openvino

    openvino = silent_openvino()
    from openvino import opset13

    entry = opset13.parameter(left.shape, np.float32)
    outputs = [opset13.matmul(entry, opset13.constant(right.T), False, True) for right in rights]
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(openvino.Model(outputs, [entry]), "CPU", options)
    return partial(model.create_infer_request().infer, [left], share_inputs=True, share_outputs=True)


def in_turns(works: dict[str, Work], rounds: int, calls: int = CALLS) -> dict[str, list[float]]:
    """Time works in turns; each has one call that is not counted, in which threads of the one before come to rest."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            work()
            for _ in range(calls):
                started = perf_counter()
                work()
                times[name].append(perf_counter() - started)
    return times


def measure_limit(rounds: int) -> dict[str, Any]:
    """Return the rates of this machine by shape and library, and the time of the model at the best of them."""
    rates: dict[str, dict[str, float]] = {}
    for name, shape in (SHAPES | {"square, 2048": SQUARE}).items():
        count = 1 if shape == SQUARE else LAYERS
        times = in_turns(products(shape), rounds)
        rates[name] = {library: count * flops(shape) / median(spent) / 1e9 for library, spent in times.items()}
    operations = model_flops()
    best = {name: max(found.values()) for name, found in rates.items()}
    best["others"] = max(best.values())
    limit = sum(work / best[name] / 1e9 for name, work in operations.items())
    square = sum(operations.values()) / best["square, 2048"] / 1e9
    return {
        "gflop": sum(operations.values()) / 1e9,
        "gflop_per_s": rates,
        "limit_ms": 1e3 * limit,
        "limit_by_squares_ms": 1e3 * square,
    }


def open_all(spec: str, folder: Path, weights: str = "") -> dict[str, Any]:
    """Open an encoder on every backend, with exports in a folder."""
    from geoindex.encoder import load_encoder, open_encoder
    from geoindex.recipe import EncoderRecipe

    exact = load_encoder(spec, EncoderRecipe(device="cpu"), weights=weights)
    if weights:  # a checkpoint beside a name becomes a folder, as an index keeps it
        spec = str(folder / "encoder")
        exact.save(spec)
    return {
        name: open_encoder(
            spec, EncoderRecipe(device="cpu", dtype=dtype), exact.fingerprint, backend=backend, kept=folder
        )
        for name, (backend, dtype) in SETUPS.items()
    }


def compare_speed(rounds: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Time every backend with one image and with 32, and compare their features with those of torch."""
    from geoindex.encoder.check_images import check_batches

    encoders = open_all(SPEC, folder)
    size = encoders["torch"].image_size
    many = np.random.default_rng(1).integers(0, 256, (32, 3, size, size), np.uint8)
    ones = in_turns({name: partial(each.features, many[:1]) for name, each in encoders.items()}, rounds)
    batches = in_turns({name: partial(each.features, many) for name, each in encoders.items()}, max(3, rounds // 3), 1)
    exact = _all_features(encoders["torch"], check_batches(size))
    rows = {}
    for name, each in encoders.items():
        close = cosines(_all_features(each, check_batches(size)), exact)
        rows[name] = {
            "one_ms": 1e3 * median(ones[name]),
            "one_p90_ms": 1e3 * float(np.quantile(ones[name], 0.9)),
            "images_per_s": 32 / median(batches[name]),
            "cosine_min": float(close.min()),
            "cosine_mean": float(close.mean()),
        }
    return rows


def _all_features(encoder: Any, batches: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return np.concatenate([encoder.features(batch) for batch in batches])


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row of one with its row in the other."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    found: NDArray[np.float64] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


def start(fingerprint: str, name: str, folder: str) -> dict[str, float]:
    """Open an encoder whose export is at hand, in a process that has nothing imported yet."""
    started = perf_counter()
    from geoindex.encoder import open_encoder
    from geoindex.recipe import EncoderRecipe

    backend, dtype = SETUPS[name]
    recipe: Any = EncoderRecipe(device="cpu", dtype=dtype)
    encoder = open_encoder(SPEC, recipe, fingerprint, backend=backend, kept=Path(folder))
    opened = perf_counter()
    encoder.features(np.zeros((1, 3, encoder.image_size, encoder.image_size), np.uint8))
    return {"open_s": opened - started, "first_s": perf_counter() - opened}


def measure_starts(repeats: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return how long a cold process takes to open each backend, and to its first features."""
    fingerprint = json.loads((folder / ".openvino/export.json").read_text())["export"]["encoder"]["fingerprint"]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in SETUPS}
    for _ in range(repeats):
        for name, found in runs.items():
            found.append(apart(start, fingerprint, name, str(folder)))
    return {name: {key: median(run[key] for run in found) for key in found[0]} for name, found in runs.items()}


def compare_photos(count: int, shared: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Answer real photos with the position of their nearest neighbour by the features of each backend."""
    from geoindex.geo import haversine_km
    from geoindex.images import load_image
    from geoindex.metrics import geoscore

    with (shared / "data/im2gps3k/metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:count]]
    lat, lon = (np.array([float(row[name]) for row in rows]) for name in ("latitude", "longitude"))
    encoders = open_all(REAL, folder, str(shared / "weights/deit_tiny_patch16_224.safetensors"))
    exact = encoders["torch"]
    files = [shared / "data/im2gps3k" / row["file"] for row in rows]
    pixels = np.stack([exact.prepare(load_image(file, min_side=exact.min_side)) for file in files])
    gallery, found = _features(exact, pixels), {}
    right = _nearest(gallery, gallery)
    for name, each in encoders.items():
        features = _features(each, pixels)
        nearest, close = _nearest(features, gallery), cosines(features, gallery)
        km = haversine_km(lat, lon, lat[nearest], lon[nearest])
        found[name] = {
            "cosine_min": float(close.min()),
            "cosine_mean": float(close.mean()),
            "same_neighbour": float((nearest == right).mean()),
            "median_km": float(np.median(km)),
            "geoscore": float(geoscore(km).mean()),
        }
    return found


def _features(encoder: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _all_features(encoder, [pixels[i : i + 32] for i in range(0, len(pixels), 32)])


def _nearest(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the closest other photo of each."""
    similarity = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    ).T
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(1)


def report(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = _speed_lines(results) if "limit" in results else []
    return "\n".join([*lines, *(_photo_lines(results["photos"]) if "photos" in results else [])])


def _speed_lines(results: dict[str, Any]) -> list[str]:
    limit = results["limit"]
    lines = [
        f"ViT-B/32, one image: {limit['gflop']:.2f} GFLOP. Limit at the best rate of each shape: "
        f"{limit['limit_ms']:.1f} ms; at the best rate of large squares: {limit['limit_by_squares_ms']:.1f} ms.\n",
        "| GFLOP/s | numpy | torch | openvino |",
        "| --- | ---: | ---: | ---: |",
    ]
    for shape, rates in limit["gflop_per_s"].items():
        lines.append(f"| {shape} | " + " | ".join(f"{rate:.0f}" for rate in rates.values()) + " |")
    lines += [
        "\n| backend | one image ms (p90) | of the limit | images/s, batches of 32 | cosine to torch, least | open s "
        "| first features s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in results["backends"].items():
        begun = results["starts"][name]
        lines.append(
            f"| {name} | {row['one_ms']:.1f} ({row['one_p90_ms']:.1f}) | {row['one_ms'] / limit['limit_ms']:.2f} "
            f"| {row['images_per_s']:.1f} | {row['cosine_min']:.6f} | {begun['open_s']:.2f} | {begun['first_s']:.2f} |"
        )
    return lines


def _photo_lines(photos: dict[str, dict[str, float]]) -> list[str]:
    if not photos:
        return ["\nno real photos at hand"]
    lines = [
        "\n| DeiT-tiny on real photos | cosine, mean | least | same nearest neighbour % | median km | GeoScore |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in photos.items():
        lines.append(
            f"| {name} | {row['cosine_mean']:.6f} | {row['cosine_min']:.6f} | {100 * row['same_neighbour']:.1f} "
            f"| {row['median_km']:,.0f} | {row['geoscore']:.0f} |"
        )
    return lines


def main() -> None:
    """Measure the limit and every backend, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="6 rounds and 200 photos")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--part", nargs="+", choices=("speed", "photos"), default=("speed", "photos"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds, photos = (6, 200) if options.quick else (options.rounds, options.photos)
    shared, results = shared_folder(), {"machine": describe_machine()}
    results["machine"]["packages"] |= {name: version(name) for name in ("openvino", "onnxruntime")}
    with tempfile.TemporaryDirectory() as folder:
        if "speed" in options.part:
            results["limit"] = measure_limit(rounds)
            results["backends"] = compare_speed(rounds, Path(folder, "large"))
            results["starts"] = measure_starts(1 if options.quick else 3, Path(folder, "large"))
        if "photos" in options.part:
            results["photos"] = compare_photos(photos, shared, Path(folder, "real")) if shared else {}
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
