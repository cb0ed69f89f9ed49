"""Commands that make something: indexes, encoders, geocells, tables."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from geoindex.cli.application import ANY_CLUSTER, Flags, ReportFormat, app, print_build, print_report, say
from geoindex.errors import ConfigError
from geoindex.recipe import ClusterRecipe, GeocellRecipe, Recipe


@dataclass(frozen=True)
class Pixels:
    """Keys of a recipe's encoding that a rebuild with another encoder takes as flags."""

    image_size: int | None = None
    """Side of the square input in pixels."""

    mean: tuple[float, float, float] | None = None
    """Channel means to subtract, of pixels in 0..1."""

    std: tuple[float, float, float] | None = None
    """Channel deviations to divide by."""

    device: str | None = None
    """auto, cpu, cuda, cuda:1, mps."""

    def keys(self) -> dict[str, Any]:
        """Return those that are given."""
        return {key: value for key, value in asdict(self).items() if value is not None}


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
        say(line)
    return 0


@app.command
def build(
    source: str = "",
    /,
    *,
    recipe: Flags = Recipe(),  # noqa: B008
    ray: str = "",
    dry_run: bool = False,
    format: ReportFormat = "table",
) -> int:
    """Build an index from geotagged photos. An index that is there goes on answering until the new one is ready.

    Args:
        source: A recipe (.toml), a folder of photos, a table, or a URI such as osv5m:ROOT?split=train.
        recipe: Every key of a recipe is a flag, and overrides the file.
        ray: Run the heavy steps on a Ray cluster: its address as HOST:PORT; nothing: one that is up, else this machine.
        dry_run: Only say what it would take: images, encoder, disk and memory. Nothing is written.
        format: How to print what was built.
    """
    from geoindex.pipeline import build_index, default_folder

    wanted = _of_source(source, recipe)
    out = wanted.out or default_folder(source or wanted, wanted)
    if dry_run:
        from geoindex.dry_run import plan_build

        print_report(plan_build(wanted, out), format)
        return 0
    return print_build(build_index(wanted, out=out, executor=_executor(ray)), format)


def _of_source(source: str, recipe: Recipe) -> Recipe:
    """Return the recipe of a file, or that of a source which is named in front of the flags."""
    if not source or source.endswith(".toml"):
        return recipe
    if recipe.source not in ("", source):
        raise ConfigError(f"There are two sources, '{source}' and --source '{recipe.source}'; name one of them.")
    return replace(recipe, source=source)


def _executor(ray: str) -> str:
    """Return what `--ray` says of where the heavy steps run."""
    return "local" if not ray else "ray" if ray == ANY_CLUSTER else f"ray:{ray}"


@app.command
def plan(
    source: str = "",
    /,
    *,
    images: float,
    recipe: Flags = Recipe(),  # noqa: B008
    gpus: int = 0,
    cores: int = 0,
    format: ReportFormat = "table",
) -> int:
    """Say what a build of so many images would take: time, memory, disk and files, and what breaks first.

    Rates come from a short run on this machine, about a minute. Nothing is kept.

    Args:
        source: A recipe (.toml), a folder of photos, a table, or a URI; its images say what the others are like.
        images: How many there would be, as 1e9.
        recipe: Every key of a recipe is a flag, and overrides the file.
        gpus: Devices like that of this machine which encode.
        cores: Cores that decode; left out: those of this machine.
        format: How to print it.
    """
    from geoindex.plan import size_build

    wanted = _of_source(source, recipe)
    print_report(size_build(wanted, images, gpus=gpus, cores=cores), format)
    return 0


@app.command
def train(
    source: str = "",
    /,
    *,
    recipe: Flags = Recipe(),  # noqa: B008
    ray: str = "",
    format: ReportFormat = "table",
) -> int:
    """Fine-tune an encoder on geotagged photos; build an index with it by --encoder OUT/encoder. Run again to go on.

    With several GPUs: torchrun --nproc-per-node 8 -m geoindex train RECIPE --out FOLDER, or --ray.

    Args:
        source: A recipe (.toml), a folder of photos, a table, or a URI such as osv5m:ROOT?split=train.
        recipe: Every key of a recipe is a flag, and overrides the file; training.method is images.
        ray: Learn on a Ray cluster, as for build: one process for each GPU, or each computer. All see the folder.
        format: How to print how the epochs went.
    """
    from geoindex.training.processes import leads
    from geoindex.tuning import train_encoder

    wanted = _of_source(source, recipe)
    report = train_encoder(wanted, executor=_executor(ray))
    return print_build(report, format) if leads() else 0  # torchrun: the first process speaks for all


@app.command
def rebuild(
    index: Path,
    /,
    *,
    recipe: Path | None = None,
    encoder: str = "",
    weights: str = "",
    encoding: Pixels = Pixels(),
    ray: str = "",
    format: ReportFormat = "table",
) -> int:
    """Make new cells, clusters and search files from the stored images; embed them again only for another encoder.

    Args:
        index: Folder of the index, or its URL, such as s3://BUCKET/PREFIX.
        recipe: Recipe (.toml) for everything but the images and their encoder; without one, the stored recipe.
        encoder: Another encoder, as for build: every image is read again from its source, or left out if it is gone.
        weights: Checkpoint file (.safetensors, .pt) for the encoder.
        encoding: What the encoder's images are like, where that is not its own.
        ray: Run the heavy steps on a Ray cluster, as for build.
        format: How to print what was built.
    """
    from geoindex.rebuilding import rebuild_index

    keys: dict[str, Any] = {"encoder": encoder, "weights": weights, "encoding": encoding.keys()}
    keys = {key: value for key, value in keys.items() if value}
    return print_build(rebuild_index(index, recipe=recipe, executor=_executor(ray), **keys), format)


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
    from geoindex.store.address import folder_of

    if recipe_file and not recipe_file.endswith(".toml"):
        raise ConfigError(f"RECIPE is '{recipe_file}' and must end in .toml; name a source as --source {recipe_file}.")
    out = folder_of(recipe.out or "table1")
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
