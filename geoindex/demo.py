"""The main job on a machine that has no data: photos of a synthetic Earth in, coordinates out.

The encoder is an untrained vision transformer with a whitening projection, so that nothing is downloaded; what
it finds are colours and shapes that depend on the place. Geo-embeddings are learned from its features.
"""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

import numpy as np

from geoindex.encoder.defaults import UNTRAINED
from geoindex.errors import ConfigError
from geoindex.evaluation.protocol import evaluate
from geoindex.figures import draw_prediction, draw_samples
from geoindex.geo import haversine_km
from geoindex.images import load_image
from geoindex.index import GeoIndex, open_index
from geoindex.pipeline import build_index
from geoindex.places import place_names
from geoindex.prediction import Prediction
from geoindex.presentation import prediction_lines
from geoindex.recipe import EncoderRecipe, Recipe, TrainingRecipe
from geoindex.sources import open_source
from geoindex.store.generations import IndexFolder
from geoindex.store.images import StoredImages
from geoindex.types import Sample

TRIED_PHOTOS = 25
"""Held-out photos that are asked; the one with the median error is shown."""

INVENTED = (
    "These photos are not real: every scene is drawn by a program from causes such as climate, driving side and "
    "script, at the positions of real towns. The figures say that the method works, not how well it does on Earth."
)


def demo_recipe(images: int, seed: int) -> Recipe:
    """Return the recipe of the demo, which is also indexes/demo.toml."""
    return Recipe(
        source=f"synthetic:{images}?seed={seed}",
        seed=seed,
        encoder=UNTRAINED,
        encoding=EncoderRecipe(projection="whiten", batch_size=64),
        training=TrainingRecipe(method="features"),
    )


def run_demo(out: Path, images: int, seed: int) -> Iterator[str]:
    """Build, measure and ask an index of the synthetic Earth; yield what to print.

    Raises:
        ConfigError: if there are too few images to hold some out.
        GeoindexError: if a step fails.
    """
    if images < 100:
        raise ConfigError(f"A demo of {images} images holds too few out to measure; take at least --images 100.")
    yield fill(f"geoindex demo: {images:,} photos of a synthetic Earth. {INVENTED}", 100) + "\n"
    report = build_index(demo_recipe(images, seed), out=out / "index")
    yield report.to_text() + "\n"
    index = open_index(report.path)
    evaluation = evaluate(index, split="test")
    yield evaluation.to_text()
    ratio = evaluation.own.median_km / evaluation.row("random pairing").median_km
    yield f"median error: {ratio:.2f} of random pairing, held-out photos of the same synthetic Earth\n"
    yield from _show_answer(index, out)
    yield from _next_steps(report.path, out)


def _show_answer(index: GeoIndex, out: Path) -> Iterator[str]:
    """Ask for held-out photos as a user would, and show the answer with the median error."""
    samples = _held_out(index)
    source = open_source(index.manifest.source)
    photos = [load_image(source.read(sample.image)) for sample in samples]
    answers = [p for p in index.query_images(photos) if isinstance(p, Prediction)]
    errors_km = [float(haversine_km(p.lat, p.lon, s.lat, s.lon)) for p, s in zip(answers, samples, strict=True)]
    shown = int(np.argsort(errors_km)[len(errors_km) // 2])
    sample, photo, answer = samples[shown], photos[shown], answers[shown]
    path = out / "photo.png"
    photo.save(path)
    yield f"One of {len(samples)} held-out photos, neither lucky nor unlucky (median error): {path}"
    yield from (f"  {line}" for line in prediction_lines(answer))
    yield f"  true place {sample.lat:.4f}, {sample.lon:.4f}   {place_names([sample.lat], [sample.lon])[0]}"
    yield f"  error {errors_km[shown]:,.0f} km\n"
    title = "Where was this photo taken? (synthetic Earth)"
    drawn = draw_prediction(answer, out / "answer.png", truth=(sample.lat, sample.lon), image=photo, title=title)
    gallery = index.searcher.sidecar.gallery
    positions = gallery["lat"].to_numpy(), gallery["lon"].to_numpy()
    drawn_gallery = draw_samples(*positions, out / "gallery.png", title="The gallery of the demo: synthetic photos")
    yield f"map of the answer    {drawn}\nmap of the gallery   {drawn_gallery}\n"


def _held_out(index: GeoIndex) -> list[Sample]:
    images = StoredImages.read(IndexFolder(index.path).tables, index.manifest.tables["images"])
    rows = images.rows("test")[:TRIED_PHOTOS]
    facts = images.facts.take(rows).to_pylist()
    return [Sample(f["id"], f["lat"], f["lon"], f["image"]) for f in facts]


def _next_steps(path: Path, out: Path) -> Iterator[str]:
    yield "Next:"
    yield f"  geoindex query {out / 'photo.png'} --index {path}"
    yield "  geoindex build FOLDER_OF_GEOTAGGED_PHOTOS --out indexes/mine"
