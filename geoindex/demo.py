"""The main job on a machine that has no data: photos of a synthetic Earth in, coordinates out.

A small vision transformer is trained from nothing on scenes whose looks depend on the place, so that nothing is
downloaded. The same pipeline with the untrained transformer, raw pixels and an oracle say what that is worth.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

import numpy as np

from geoindex.assembly.finetuning import kept_pixels
from geoindex.errors import ConfigError
from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.report import Report, Row
from geoindex.evaluation.synthetic import oracle_row, pixel_row
from geoindex.figures import draw_prediction, draw_samples
from geoindex.geo import haversine_km
from geoindex.images import load_image
from geoindex.index import GeoIndex, open_index
from geoindex.pipeline import build_from
from geoindex.places import place_names
from geoindex.prediction import Prediction
from geoindex.presentation import prediction_lines
from geoindex.recipe import EncoderRecipe, FineTuningRecipe, GeocellRecipe, Recipe, TrainingRecipe
from geoindex.sources import open_source
from geoindex.sources.synthetic import SyntheticEarth
from geoindex.store.address import folder_of
from geoindex.store.durable import storage_errors
from geoindex.store.generations import IndexFolder
from geoindex.store.images import StoredImages, stored_images
from geoindex.types import Sample

ENCODER = (
    "open_clip:ViT-B-32/random?image_size=96&patch_size=16&width=192&layers=4&head_width=64&embed_dim=192"
    "&pool_type=avg&seed=0"
)
"""A vision transformer of 2 million parameters that two cores can train in minutes."""

TRIED_PHOTOS = 25
"""Held-out photos that are asked; the one with the median error is shown."""

INVENTED = (
    "These photos are not real: every scene is drawn by a program from causes such as climate, driving side and "
    "script, at the positions of real towns. The figures say that the method works, not how well it does on Earth."
)


def demo_recipe(images: int, seed: int) -> Recipe:
    """Return the recipe of the demo, which is also indexes/demo.toml."""
    return Recipe(
        source=f"synthetic:{images}?seed={seed}&size=96",
        seed=seed,
        encoder=ENCODER,
        encoding=EncoderRecipe(batch_size=128),
        geocells=GeocellRecipe(min_cells=150, max_cells=400),
        training=TrainingRecipe(
            method="images", epochs=5, alpha=0.0, places=128, images=1, projection_rate=1.0, lr=1e-3
        ),
        finetuning=FineTuningRecipe(weights="all", lr=1e-3, workers=2),
    )


def untrained_recipe(images: int, seed: int) -> Recipe:
    """Return the same without training: prototypes over whitened features of the untrained transformer."""
    encoding = EncoderRecipe(projection="whiten", batch_size=128)
    return replace(demo_recipe(images, seed), encoding=encoding, training=TrainingRecipe(method="none"))


def run_demo(out: Path, images: int, seed: int) -> Iterator[str]:
    """Build, measure and ask an index of the synthetic Earth; yield what to print.

    Raises:
        ConfigError: if there are too few images to hold some out.
        GeoindexError: if a step fails.
    """
    out = folder_of(out)
    if images < 100:
        raise ConfigError(f"A demo of {images} images holds too few out to measure; take at least --images 100.")
    yield fill(f"geoindex demo: {images:,} photos of a synthetic Earth. {INVENTED}", 100) + "\n"
    recipe = demo_recipe(images, seed)
    earth = open_source(recipe.source)
    assert isinstance(earth, SyntheticEarth)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="scenes-", dir=out) as drawn:
        report = build_from(earth, recipe, out / "index", Path(drawn))
        yield report.to_text() + "\n"
        index = open_index(report.path)
        untrained = build_from(earth, untrained_recipe(images, seed), out / "untrained", Path(drawn))
        evaluation = evaluate(index, split="test")
        rows = _reference_rows(index, earth, Path(drawn), evaluate(untrained.path, split="test"))
    yield replace(evaluation, rows=(*rows, *evaluation.rows)).to_text()
    yield _comparison(evaluation, rows)
    yield from _show_answer(index, out)
    yield from _next_steps(out / "index", out)


def _reference_rows(index: GeoIndex, earth: SyntheticEarth, drawn: Path, untrained: Report) -> tuple[Row, ...]:
    """Return what the answers are to be read against.

    Args:
        index: the one of the demo.
        earth: its source.
        drawn: folder of the scenes that the fit has drawn.
        untrained: how well the index of the untrained encoder does.
    """
    images, scenes = _images(index), kept_pixels(earth, earth.scan().samples, index.encoder, drawn)
    before = Row(f"untrained encoder, {untrained.rule}", untrained.own, "floor")
    return oracle_row(earth, images), pixel_row(scenes, images), before


def _comparison(evaluation: Report, rows: tuple[Row, ...]) -> str:
    """Say in numbers how the trained encoder does beside what needs no training, and beside the oracle."""
    own, oracle = evaluation.own.median_km, rows[0].metrics.median_km
    others = {"best constant": evaluation.row("best constant"), "raw pixels": rows[1].metrics}
    others["untrained encoder"] = rows[2].metrics
    told = ", ".join(f"{own / metrics.median_km:.2f} of {name}" for name, metrics in others.items())
    text = f"median error {own:,.0f} km: {told}; the oracle, which knows the causes of each scene,"
    return fill(f"{text} is {oracle:,.0f} km off: {own - oracle:,.0f} km are left to learn.", 100) + "\n"


def _show_answer(index: GeoIndex, out: Path) -> Iterator[str]:
    """Ask for held-out photos as a user would, and show the answer with the median error."""
    samples = _held_out(index)
    source = open_source(index.manifest.source.partition("&size=")[0])  # larger, for people
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
    positions = index.searcher.sidecar.gallery.positions()
    drawn_gallery = draw_samples(*positions, out / "gallery.png", title="The gallery of the demo: synthetic photos")
    yield f"map of the answer    {drawn}\nmap of the gallery   {drawn_gallery}\n"


def _held_out(index: GeoIndex) -> list[Sample]:
    images = _images(index)
    rows = images.rows("test")[:TRIED_PHOTOS]
    facts = images.facts.take(rows).to_pylist()
    return [Sample(f["id"], f["lat"], f["lon"], f["image"]) for f in facts]


def _images(index: GeoIndex) -> StoredImages:
    return stored_images(IndexFolder(index.path), index.manifest.tables["images"])


def _next_steps(path: Path, out: Path) -> Iterator[str]:
    yield "Next:"
    yield f"  geoindex query {out / 'photo.png'} --index {path}"
    yield "  geoindex build FOLDER_OF_GEOTAGGED_PHOTOS --out indexes/mine"
