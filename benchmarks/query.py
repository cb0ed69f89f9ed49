"""What does a query cost beside decoding and the model, and how near do bulk runs come to what limits them?

    python benchmarks/query.py [--quick] [--only decoding stages answers pipeline bulk] [--folder DIR] [--json FILE]

*decoding*: one photo to the scale that the encoder wants, with `load_image` and with other libraries where they are
installed (`pip install simplejpeg opencv-python-headless PyTurboJPEG`), in turns.
*stages*: `query_image` with an untrained ViT-B/32 on an index of planted embeddings. The forward pass is timed inside
each query; what is neither that nor decoding is set against it.
*answers*: rule `score` with fewer and more points that may be the answer: expected GeoScore that is lost against 1,024
of them, for strong and weak evidence (a little and much noise on stored embeddings), and time.
*pipeline*: `query_images` against the same steps one after the other in one thread.
*bulk*: embedding as a build does it, against the model alone at the same batch (limit of the model) and against
decoding alone on all cores (limit of decoding), in turns.

An encoder that *waits beside* stands for a model on a device that leaves the cores of this machine alone: it sleeps.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from machine import apart, describe_machine
from PIL import Image
from query_bulk import BATCH, MODEL, Figures, WaitsBeside, encoded, in_turns, make_photo, measure_bulk

import geoindex
from geoindex import estimate
from geoindex.calibration import PERCENTS, RADII, REACH_SHARES, SHARES, Calibration, Odds
from geoindex.encoder import Encoder, load_encoder
from geoindex.errors import IndexNotFoundError
from geoindex.estimate import Posterior
from geoindex.geo import haversine_km
from geoindex.images import load_image
from geoindex.metrics import geoscore
from geoindex.pipeline import build_from, merge_recipe
from geoindex.recipe import EncoderRecipe, Recipe
from geoindex.search.posterior import Breadth
from geoindex.sources.planted import PlantedEmbeddings
from geoindex.store.generations import IndexFolder

SIDE = 224
Decoder = Callable[[bytes], Any]


def phone_exif() -> Image.Exif:
    """Return the EXIF of a photo that was taken upright: turned, with 40 kB of the maker's notes."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x927C] = bytes(40_000)
    return exif


def decoders() -> dict[str, Decoder | None]:
    """Return each library's way to the scale of the encoder; None where it is not installed."""
    found: dict[str, Decoder | None] = {"geoindex": lambda data: load_image(data, min_side=SIDE), "Pillow": _pillow}
    found |= dict.fromkeys(("simplejpeg", "PyTurboJPEG", "OpenCV"))
    if find_spec("simplejpeg"):
        import simplejpeg

        found["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data, min_height=SIDE, min_width=SIDE, min_factor=1)
    if find_spec("turbojpeg"):
        import turbojpeg

        try:
            jpeg = turbojpeg.TurboJPEG()
            found["PyTurboJPEG"] = lambda data: jpeg.decode(data, scaling_factor=(1, 8))
        except RuntimeError:  # it brings no library of its own
            pass
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        found["OpenCV"] = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    return found


def _pillow(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.draft("RGB", (SIDE, SIDE))
    image.load()
    return image


def measure_decoding(quick: bool) -> Figures:
    """Time every decoder on every photo, in turns; the others only where the scale is the same: an eighth."""
    large, small = make_photo(4000, 3000), make_photo(640, 480)
    photos = {
        "12 MP JPEG": encoded(large),
        "12 MP JPEG, progressive": encoded(large, progressive=True),
        "12 MP JPEG, turned, 40 kB EXIF": encoded(large, exif=phone_exif()),
        "0.3 MP JPEG": encoded(small),
        "12 MP WebP": encoded(large, "WEBP", quality=90),
        "12 MP PNG": encoded(large, "PNG", compress_level=1),
        "0.3 MP PNG": encoded(small, "PNG"),
    }
    rows: Figures = {}
    for name, data in photos.items():
        ways = decoders() if name.startswith("12 MP JPEG") else {"geoindex": decoders()["geoindex"]}
        repeats = (5 if quick else 25) if "JPEG" in name else (2 if quick else 5)
        times = in_turns({way: _on(decode, data) for way, decode in ways.items() if decode}, repeats)
        rows[name] = {"MB": len(data) / 1e6}
        rows[name] |= {way: 1000 * median(times[way]) if way in times else "absent" for way in ways}
    return rows


def _on(decode: Decoder, data: bytes) -> Callable[[], Any]:
    return lambda: decode(data)


class ForwardPass:
    """Times the forward pass of a model from inside; `seconds` holds each."""

    def __init__(self, encoder: Encoder) -> None:
        self.seconds: list[float] = []
        encoder.module.register_forward_pre_hook(self._start)
        encoder.module.register_forward_hook(self._stop)

    def _start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def measure_stages(path: Path, quick: bool) -> Figures:
    """Time the steps of `query_image`, in ms."""
    encoder = load_encoder(MODEL, EncoderRecipe(device="cpu"))
    index, forward = calibrated(geoindex.open_index(path, encoder=encoder)), ForwardPass(encoder)
    photos = {"12 MP": encoded(make_photo(4000, 3000)), "0.3 MP": encoded(make_photo(640, 480))}
    rows: Figures = {"index": repr(index)}
    for name, data in photos.items():
        steps = []
        for _ in range(3 + (10 if quick else 60)):
            started = time.perf_counter()
            answer = index.query_image(data)
            whole_ms, forward_ms = 1000 * (time.perf_counter() - started), 1000 * forward.seconds[-1]
            beside_ms = whole_ms - answer.timings_ms["decode"] - forward_ms
            steps.append(answer.timings_ms | {"forward pass": forward_ms, "whole": whole_ms, "beside": beside_ms})
        rows[name] = {step: median(each[step] for each in steps[3:]) for step in steps[0]}
        rows[name]["beside, % of forward"] = 100 * rows[name]["beside"] / rows[name]["forward pass"]
    return rows


def calibrated(index: geoindex.GeoIndex) -> geoindex.GeoIndex:
    """Give an index a calibration, for planted embeddings have no photos to learn one on: it takes its time as well."""
    odds = Odds(0.1, [1.0, 0.9, 0.8])
    shares = dict(zip(PERCENTS, SHARES, strict=True))
    within = dict.fromkeys(RADII, odds)
    reach_km = np.geomspace(0.1, 300.0, len(REACH_SHARES)).tolist()
    calibration = Calibration(index.manifest.rule["name"], 500, 100, reach_km, within, shares)
    searcher = replace(index.searcher, calibration=calibration)
    index.live.open = replace(index.snapshot, searcher=searcher)
    return index


def measure_answers(path: Path, quick: bool) -> Figures:
    """Return what rule `score` loses, and how long it takes, by how many points may be the answer."""
    index = geoindex.open_index(path)
    rows: Figures = {}
    for name, noise in {"strong evidence": 0.02, "weak evidence": 0.1}.items():
        posteriors = noisy_posteriors(index, 50 if quick else 300, noise)
        most = [expected_score(posterior, 1024)[0] for posterior in posteriors]
        rows[name] = {"expected GeoScore": float(np.mean(most))}
        for count in (256, 64, 16):
            found = np.array([expected_score(posterior, count) for posterior in posteriors])
            rows[name][f"lost by {count}"] = float(np.mean(most - found[:, 0]))
            rows[name][f"ms of {count}"] = float(np.median(found[:, 1]))
    return rows


def noisy_posteriors(index: geoindex.GeoIndex, count: int, noise: float) -> list[Posterior]:
    """Return the posteriors of stored embeddings with noise on every number."""
    searcher, rng = index.searcher, np.random.default_rng(0)
    gallery = searcher.sidecar.gallery
    queries = gallery.vectors(rng.integers(0, len(gallery), count)).astype(np.float32)
    queries += noise * rng.standard_normal(queries.shape).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rankings = searcher.rank(queries, Breadth(int(index.manifest.recipe["search"]["top_cells"])))
    return [searcher.posterior(ranking, query) for ranking, query in zip(rankings, queries, strict=True)]


def expected_score(posterior: Posterior, answers: int) -> tuple[float, float]:
    """Return the expected GeoScore of the answer out of so many points, and how many ms it took."""
    with patch.object(estimate, "MAX_ANSWERS", answers):
        started = time.perf_counter()
        lat, lon = estimate.estimate_point(posterior, "score")
        ms = 1000 * (time.perf_counter() - started)
    return float(posterior.probability @ geoscore(haversine_km(lat, lon, posterior.lat, posterior.lon))), ms


def measure_pipeline(path: Path, quick: bool) -> Figures:
    """Time `query_images` on photos of 12 megapixels against its steps one after the other."""
    encoder = load_encoder(MODEL, EncoderRecipe(device="cpu"))
    photos = [encoded(make_photo(4000, 3000, seed)) for seed in range(4)] * (BATCH // 2)
    rows: Figures = {}
    for name, model in {"ViT-B/32 on these cores": encoder, "waits beside, 15 ms": WaitsBeside(encoder, 15.0)}.items():
        index = geoindex.open_index(path, encoder=model)  # type: ignore[arg-type]
        ways = {
            "after_each_other": lambda model=model, index=index: one_after_the_other(index, model, photos),
            "query_images": lambda index=index: list(index.query_images(photos)),
        }
        times = in_turns(ways, 1 if quick else 2)
        rows[name] = {way: 1000 * median(seconds) / len(photos) for way, seconds in times.items()}
    return rows


def one_after_the_other(index: geoindex.GeoIndex, encoder: Any, photos: Sequence[bytes]) -> None:
    """Do what `query_images` does, in one thread."""
    for start in range(0, len(photos), BATCH):
        decoded = [load_image(photo, min_side=encoder.min_side) for photo in photos[start : start + BATCH]]
        features = encoder.features(np.stack([encoder.prepare(image) for image in decoded]))
        index.query_embeddings(index.projection.apply(features))


def build_planted(path: Path, images: int) -> None:
    """Build an index of planted embeddings that takes the features of the model for its own, or find it."""
    try:
        IndexFolder(path).current()
        return
    except IndexNotFoundError:
        pass
    encoder = load_encoder(MODEL, EncoderRecipe(device="cpu"))
    source = PlantedEmbeddings(images, dim=encoder.dim)
    source.fingerprint = encoder.fingerprint
    keys = {"training": {"method": "none"}, "split_by": "none"}
    build_from(source, merge_recipe(Recipe(source=source.uri), keys), path)


def show(name: str, rows: Figures) -> None:
    """Print the figures of one part as Markdown."""
    print(f"\n### {name}\n")
    for row, values in rows.items():
        pairs = values.items() if isinstance(values, dict) else [("", values)]
        cells = (f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}".strip() for key, value in pairs)
        print(f"- {row}: " + ", ".join(cells), flush=True)


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and an index of 10,000 images")
    parser.add_argument("--only", nargs="+", default=["decoding", "stages", "answers", "pipeline", "bulk"])
    parser.add_argument("--folder", type=Path, help="folder of the planted index, which is kept there and found again")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: Figures = {"machine": describe_machine()}
    with TemporaryDirectory() as temporary:
        path = options.folder or Path(temporary) / "index"
        if {"stages", "answers", "pipeline"} & {*options.only}:
            apart(build_planted, path, 10_000 if options.quick else 100_000)
        parts = {
            "decoding": lambda: measure_decoding(options.quick),
            "stages": lambda: measure_stages(path, options.quick),
            "answers": lambda: measure_answers(path, options.quick),
            "pipeline": lambda: measure_pipeline(path, options.quick),
            "bulk": lambda: measure_bulk(Path(temporary), options.quick),
        }
        for name in options.only:
            figures[name] = parts[name]()
            show(name, figures[name])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
