"""Commands that make something: indexes, encoders, geocells, tables."""

import os
from pathlib import Path

from geoindex.cli.application import Flags, ReportFormat, app, print_build, print_report
from geoindex.recipe import ClusterRecipe, GeocellRecipe, Recipe


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
def build(
    source: str = "",
    /,
    *,
    recipe: Flags = Recipe(),  # noqa: B008
    dry_run: bool = False,
    format: ReportFormat = "table",
) -> int:
    """Build an index from geotagged photos. An index that is there goes on answering until the new one is ready.

    Args:
        source: A recipe (.toml), a folder of photos, a table, or a URI such as osv5m:ROOT?split=train.
        recipe: Every key of a recipe is a flag, and overrides the file.
        dry_run: Only say what it would take: images, encoder, disk and memory. Nothing is written.
        format: How to print what was built.
    """
    from dataclasses import replace

    from geoindex.pipeline import build_index, default_folder

    wanted = recipe if source.endswith(".toml") or not source else replace(recipe, source=source)
    out = wanted.out or default_folder(source or wanted, wanted)
    if dry_run:
        from geoindex.plan import plan_build

        print_report(plan_build(wanted, out), format)
        return 0
    return print_build(build_index(wanted, out=out), format)


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
    print_report(report, format)
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

    print_build(rebuild_index(index, recipe=recipe), format)
    return 0  # what the first build could not read is no failure of this one


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
    print_report(table, format)
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
    print_report(report, format)
    return 0
