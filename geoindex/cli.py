"""The command line: parse, call, print. Results go to stdout, all else to stderr.

Exit codes: 0 all fine, 1 failed, 2 wrong usage, 3 some inputs failed and the others were done, 130 interrupted.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict

from geoindex import __version__
from geoindex.errors import GeoindexError, UnreadableImageError
from geoindex.recipe import ClusterRecipe, GeocellRecipe, Recipe, paper_recipe
from geoindex.recipe_files import load_recipe, recipe_to_dict

if TYPE_CHECKING:
    from geoindex.pipeline import BuildReport
    from geoindex.prediction import Prediction
    from geoindex.presentation import Outcome

SOME_FAILED = 3
INTERRUPTED = 130
OF_RECIPES = ("build", "train", "table1")
"""Commands that take a recipe file and its keys as flags."""

Format = Literal["table", "json", "jsonl", "geojson", "csv"]
Flags = Annotated[Recipe, Parameter(name="*")]
ReportFormat = Literal["table", "json"]

app = App(
    name="geoindex",
    version=__version__,
    help="Where on Earth was this photo taken?",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), show_default=lambda value: _default_text(value)),
)


def _default_text(value: object) -> str | None:
    """Return a default as it would be typed; what is empty needs no telling."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or None
    return None if value is None else str(value) or None


@app.command
def demo(*, out: Path = Path("geoindex-demo"), images: int = 8000, seed: int = 0) -> int:
    """Train an encoder on a synthetic Earth, build an index, measure it, and show one answer on a map.

    Args:
        out: Folder for the index and the pictures.
        images: Scenes to render.
        seed: Seed of the synthetic Earth.
    """
    from geoindex.demo import run_demo

    for line in run_demo(out, images, seed):
        print(line, flush=True)
    return 0


@app.command
def build(source: str = "", /, *, recipe: Flags = Recipe(), format: ReportFormat = "table") -> int:  # noqa: B008
    """Build an index from geotagged photos. An index that is there goes on answering until the new one is ready.

    Args:
        source: A recipe (.toml), a folder of photos, a table, or a URI such as osv5m:ROOT?split=train.
        recipe: Every key of a recipe is a flag, and overrides the file.
        format: How to print what was built.
    """
    from dataclasses import replace

    from geoindex.pipeline import build_index, default_folder

    wanted = recipe if source.endswith(".toml") or not source else replace(recipe, source=source)
    out = wanted.out or default_folder(source or wanted, wanted)
    return _print_build(build_index(wanted, out=out), format)


@app.command
def train(source: str = "", /, *, recipe: Flags = Recipe(), format: ReportFormat = "table") -> int:  # noqa: B008
    """Fine-tune an encoder on geotagged photos; build an index with it by --encoder OUT/encoder. Run again to go on.

    With several GPUs: torchrun --nproc-per-node 8 -m geoindex train RECIPE --out FOLDER.

    Args:
        source: A recipe (.toml), a folder of photos, a table, or a URI such as osv5m:ROOT?split=train.
        recipe: Every key of a recipe is a flag, and overrides the file; training.method is images.
        format: How to print how the epochs went.
    """
    from dataclasses import replace

    from geoindex.tuning import train_encoder

    wanted = recipe if source.endswith(".toml") or not source else replace(recipe, source=source)
    report = train_encoder(wanted)
    if os.environ.get("RANK", "0") != "0":  # torchrun: the first process speaks for all
        return 0
    _print_report(report, format)
    return 0


@app.command
def rebuild(index: Path, /, *, recipe: Path | None = None, format: ReportFormat = "table") -> int:
    """Make new cells, clusters and search files from the stored images, without embedding one again.

    Args:
        index: Folder of the index.
        recipe: Recipe (.toml) for everything but the images; without one, the stored recipe.
        format: How to print what was built.
    """
    from geoindex.pipeline import rebuild_index

    _print_build(rebuild_index(index, recipe=recipe), format)
    return 0  # what the first build could not read is no failure of this one


@app.command
def query(
    images: list[str],
    /,
    *,
    index: Path | None = None,
    top_k: int = 5,
    top_cells: int | None = None,
    rule: Literal["nearest", "posterior", "distance", "score"] | None = None,
    evidence: int = 5,
    max_precision_km: float | None = None,
    format: Format = "table",
    device: str = "auto",
) -> int:
    """Say where photos were taken. GPS in their EXIF is never used.

    Args:
        images: Photos, folders, patterns such as 'trip/*.jpg', or - for a photo on stdin.
        index: Folder of the index; without one $GEOINDEX_HOME, else indexes/default.
        top_k: Candidates to name.
        top_cells: Cells that are probed; without it the index's own number.
        rule: Rule of estimation; without it the index's own.
        evidence: Stored images to name.
        max_precision_km: Round every point to this, for uses that must not pinpoint.
        format: How to print the answers.
        device: auto, cpu, cuda, mps.
    """
    from geoindex.index import GeoIndex, open_index
    from geoindex.inputs import expand_inputs
    from geoindex.presentation import FORMATS
    from geoindex.progress import write

    opened: GeoIndex = open_index(index, device=device)
    inputs = expand_inputs(images)
    answers = opened.query_images(
        (item.image for item in inputs), on_error="return",
        top_k=top_k, top_cells=top_cells, rule=rule, evidence=evidence, max_precision_km=max_precision_km,
    )  # fmt: skip
    failed: list[str] = []
    for text in FORMATS[format](_outcomes([item.name for item in inputs], answers, failed)):
        write(text, sys.stdout)
    return 0 if not failed else 1 if len(failed) == len(inputs) else SOME_FAILED


def _outcomes(
    names: list[str], answers: "Iterator[Prediction | UnreadableImageError]", failed: list[str]
) -> "Iterator[Outcome]":
    """Yield what came of each input; complain of those that failed, and add their names to `failed`."""
    from geoindex.presentation import Outcome
    from geoindex.progress import track

    for name, answer in zip(names, track(answers, "locating", total=len(names), unit="photo"), strict=True):
        if isinstance(answer, UnreadableImageError):
            failed.append(name)
            answer = UnreadableImageError(name, answer.reason)  # bytes have no name of their own
            _complain(str(answer))
        yield Outcome(name, answer)


@app.command(name="eval")
def eval_(
    index: Path,
    /,
    *,
    split: Literal["test", "val", "train"] = "test",
    source: str | None = None,
    column: tuple[str, ...] = (),
    seed: int = 0,
    format: ReportFormat = "table",
) -> int:
    """Measure an index, beside random pairing, the best constant point and 1-NN over the same embeddings.

    Args:
        index: Folder of the index.
        split: Which of its own images ask; ignored with --source.
        source: Other photos with known positions: a folder, a table, or a URI.
        column: Columns of a table by meaning, each with a flag of its own, as lat=NAME.
        seed: Seed of the random floors.
        format: How to print the report.
    """
    from geoindex.evaluation.protocol import evaluate

    report = evaluate(index, split=split, source=source, columns=Recipe(column=column).columns, seed=seed)
    _print_report(report, format)
    return SOME_FAILED if report.unreadable else 0


@app.command
def info(index: Path, /, *, format: ReportFormat = "table") -> int:
    """Say what an index holds.

    Args:
        index: Folder of the index.
        format: How to print it.
    """
    from geoindex.inspection import inspect_index

    report = inspect_index(index)
    _print_report(report, format)
    return 0


@app.command(name="geocells")
def geocells_(
    source: str,
    /,
    *,
    out: Path,
    column: tuple[str, ...] = (),
    sample: int | None = None,
    held_out: float = 0.0,
    seed: int = 0,
    geocells: GeocellRecipe = GeocellRecipe(),  # noqa: B008
    clusters: ClusterRecipe = ClusterRecipe(),  # noqa: B008
    format: ReportFormat = "table",
) -> int:
    """Divide the Earth by a table of positions, and draw and write the cells.

    Args:
        source: A table with coordinates (csv, parquet, jsonl), a folder of photos, or a URI.
        out: Folder for cells, clusters and figures.
        column: Columns of a table by meaning, each with a flag of its own, as lat=NAME.
        sample: Use only this many positions.
        held_out: Share of the positions that is left out of the cells and only measured on.
        seed: Seed of every random choice.
        geocells: Keys of a recipe's geocells.
        clusters: Keys of a recipe's clusters.
        format: How to print what was made.
    """
    from geoindex.survey import survey_positions

    recipe = Recipe(source=source, column=column, sample=sample, seed=seed, geocells=geocells, clusters=clusters)
    report = survey_positions(recipe, out, held_out)
    _print_report(report, format)
    return 0


@app.command
def table1(
    recipe_file: str = "",
    /,
    *,
    recipe: Flags = Recipe(),  # noqa: B008
    seeds: int = 1,
    photos: int = 50,
    resnet: str = "timm:resnet152.a1_in1k",
    resnet_epochs: int = 5,
    format: ReportFormat = "table",
) -> int:
    """Run the paper's Table 1 on a source: baselines, losses, and the floors to beat. Run again to go on.

    Args:
        recipe_file: A recipe (.toml) for the ViT rows; without one, the paper's settings.
        recipe: Every key of a recipe is a flag, and overrides the file.
        seeds: Runs, each with a split and a start of its own.
        photos: Random test photos, the same in every row, for the paper's own figure.
        resnet: Encoder of the regression baseline.
        resnet_epochs: Its passes over the train split.
        format: How to print the table; table1.md, table1.json and table1.png are written to --out too.
    """
    from geoindex.evaluation.table1 import Table1Plan, run_table1

    out = Path(recipe.out or "table1")
    table = run_table1(recipe, Table1Plan(seeds, photos, resnet, resnet_epochs), out)
    table.write(out)
    _print_report(table, format)
    return 0


class _Report(Protocol):
    def to_text(self) -> str: ...

    def to_dict(self) -> dict[str, Any]: ...


def _print_report(report: _Report, format: ReportFormat) -> None:
    print(report.to_text() if format == "table" else json.dumps(report.to_dict(), ensure_ascii=False, indent=1))


def _print_build(report: "BuildReport", format: ReportFormat) -> int:
    _print_report(report, format)
    return SOME_FAILED if report.failed else 0


def _complain(message: str) -> None:
    from geoindex.progress import write

    write(f"geoindex: {' '.join(message.splitlines())}\n", sys.stderr)


def _usage_text(error: CycloptsError, tokens: list[str]) -> str:
    command = tokens[0] + " " if tokens[:1] and tokens[0] in app else ""
    text = str(error).strip().rstrip(".")
    return f"{text}{'' if text.endswith('?') else '.'} See 'geoindex {command}--help'."


def _read_recipe_file(tokens: list[str]) -> None:
    """Let `build FILE.toml` take its flags' defaults from the file, once it is known to be a recipe; so the others."""
    file = _recipe_file(tokens)
    for name in OF_RECIPES:
        start = load_recipe(file) if file else paper_recipe() if name == "table1" else None
        # under the command's name: a key such as geocells is also the name of another command
        app[name].config = (Dict({name: recipe_to_dict(start)}),) if start else ()


def _recipe_file(tokens: list[str]) -> str | None:
    if tokens[:1] not in ([name] for name in OF_RECIPES):
        return None
    for before, token in pairwise(tokens):
        is_value = before.startswith("--") and "=" not in before
        if token.endswith(".toml") and not token.startswith("--") and not is_value:
            return token
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="geoindex: %(message)s")
    tokens = sys.argv[1:] if arguments is None else arguments
    if tokens[:1] == ["query"]:
        tokens = ["stdin:" if token == "-" else token for token in tokens]  # a lone dash would be taken for a flag
    try:
        _read_recipe_file(tokens)
        code = int(app(tokens, exit_on_error=False, print_error=False) or 0)
        sys.stdout.flush()
        return code
    except CycloptsError as error:
        _complain(_usage_text(error, tokens))
        return 2
    except GeoindexError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        builds = tokens[:1] in (["build"], ["demo"], ["table1"])
        _complain("interrupted; what was embedded is kept for the next run." if builds else "interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # the interpreter flushes stdout once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(f"The system refuses: {error}.")
        return 1
