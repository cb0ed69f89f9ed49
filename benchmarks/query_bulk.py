"""What `query.py` measures of bulk runs: photos that are decoded and embedded, and what limits that."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from machine import shared_folder
from PIL import Image

from geoindex.embed import embed_samples
from geoindex.encoder import Encoder, load_encoder
from geoindex.images import content_hash, load_image, read_file
from geoindex.lookahead import available_cores
from geoindex.recipe import EncoderRecipe
from geoindex.sources import open_source

MODEL = "open_clip:ViT-B-32/random"
TINY = "timm:vit_tiny_patch16_224/random?depth=1&embed_dim=96&num_heads=3"
BATCH = 32
Figures = dict[str, Any]


def make_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a real photo brought to a size, else smooth noise, with the noise of a sensor."""
    shared, rng = shared_folder(), np.random.default_rng(seed)
    photos = sorted((shared / "data" / "street" / "images").glob("*.jpg")) if shared else []
    if photos:
        small = Image.open(photos[seed % len(photos)]).convert("RGB")
    else:
        small = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.LANCZOS), np.float32)
    pixels = pixels + rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def encoded(photo: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return a photo as a file: a JPEG of quality 90 with colour at half the resolution, or another kind."""
    buffer = BytesIO()
    photo.save(buffer, kind, **({"quality": 90, "subsampling": "4:2:0"} if kind == "JPEG" else {}), **options)
    return buffer.getvalue()


def in_turns(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each work; every round does each once, after a round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


class WaitsBeside:
    """An encoder whose model leaves the cores alone: it sleeps for some milliseconds an image."""

    def __init__(self, encoder: Encoder, ms: float) -> None:
        self._encoder, self._ms = encoder, ms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def features(self, batch: np.ndarray) -> np.ndarray:
        """Wait, and return features that are all alike."""
        time.sleep(self._ms / 1000 * len(batch))
        return np.ones((len(batch), self._encoder.dim), np.float32)


def measure_bulk(folder: Path, quick: bool) -> Figures:
    """Time the embedding of a build against the model and against decoding, each alone."""
    counts = (64, 256, 32) if quick else (192, 2048, 64)
    photos = (make_photo(448, 336), make_photo(448, 336), make_photo(4000, 3000))
    tables = [write_photos(folder / str(n), n, photo) for n, photo in zip(counts, photos, strict=True)]
    model, tiny = load_encoder(MODEL, EncoderRecipe(device="cpu")), load_encoder(TINY, EncoderRecipe(device="cpu"))
    repeats = 2 if quick else 5
    return {
        "0.15 MP JPEGs, ViT-B/32 on these cores": against_limits(tables[0], model, folder, repeats),
        "0.15 MP JPEGs, waits beside, 3 ms": against_limits(tables[1], WaitsBeside(model, 3.0), folder, repeats),
        "12 MP JPEGs, ViT of one block on these cores": against_limits(tables[2], tiny, folder, repeats),
    }


def write_photos(folder: Path, count: int, photo: Image.Image) -> Path:
    """Write copies of a photo as JPEG with their table; return that."""
    folder.mkdir(parents=True)
    data, lines = encoded(photo), ["file,latitude,longitude"]
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(data)
        lines.append(f"{number}.jpg,{1 + number % 80},{1 + number % 170}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder / "metadata.csv"


def against_limits(table: Path, encoder: Any, folder: Path, repeats: int) -> Figures:
    """Return images a second of the embedding, of the model alone and of decoding alone, and what limits it."""
    source = open_source(table)
    samples = source.scan().samples
    batch = np.stack([encoder.prepare(load_image(source.read(image))) for image in samples.images[:BATCH]])

    def decode(image: str) -> None:
        file = read_file(source.read(image))
        encoder.prepare(load_image(file, min_side=encoder.min_side))
        content_hash(file)

    def decode_all() -> None:
        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(decode, samples.images))

    def embed() -> None:
        with TemporaryDirectory(dir=folder) as work:
            embed_samples(source, samples, encoder, Path(work))

    works = {
        "embedding": embed,
        "model alone": lambda: [encoder.features(batch) for _ in range(len(samples) // BATCH)],
        "decoding alone": decode_all,
    }
    seconds = in_turns(works, repeats)
    rates: Figures = {name: len(samples) / median(times) for name, times in seconds.items()}
    bound = min(("model alone", "decoding alone"), key=lambda name: rates[name])
    shares = [100 * limit / took for took, limit in zip(seconds["embedding"], seconds[bound], strict=True)]
    return rates | {"bound": bound, "% of bound": median(shares), "least": min(shares), "most": max(shares)}
