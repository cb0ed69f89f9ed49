"""The paper's Table 1 on any source: its baselines, its grid of contrastive losses, and floors.

Every row answers for the same test photos of one split. Finished rows are kept; a run that was stopped goes on.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoindex.assembly.regression import regress
from geoindex.encoder import Encoder, choose_encoder, load_encoder
from geoindex.encoder.spec import parse_spec
from geoindex.errors import ConfigError, WeightsNotFoundError
from geoindex.evaluation.protocol import floor_errors, rule_errors
from geoindex.evaluation.queries import Queries, split_queries
from geoindex.evaluation.rivals import best_constant
from geoindex.evaluation.table1_report import Errors, Line, Table1
from geoindex.geo import haversine_km
from geoindex.index import GeoIndex, open_index
from geoindex.pipeline import build_from, read_samples, resolve_recipe
from geoindex.recipe import Recipe, TrainingRecipe
from geoindex.recipe_files import recipe_to_dict
from geoindex.sources import Source, open_source
from geoindex.sources.shuffled import ShuffledSource
from geoindex.sources.source import EmbeddedSource
from geoindex.store.durable import storage_errors, write_durably
from geoindex.training.baselines import DegreesHead, UnitHead

log = logging.getLogger(__name__)

PAPER_RESNET = "timm:resnet152.a1_in1k"
CONTRASTIVE = ((0.3, 0.5, 173.3), (0.5, 0.5, 167.2), (0.5, 0.75, 185.2))
"""Temperature, alpha, and the mean km that the paper found."""

HAVERSINE, SHUFFLED = "{} + haversine", "{} + haversine, shuffled positions"
DEGREES, UNIT, RANDOM_INIT = "{}, latitude and longitude", "{}, unit vector, no geocells", "random-init"
CONSTANT, RANDOM, NEAREST_IMAGE = "best constant", "random pairing", "1-NN over images, encoder of + haversine"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table1Plan:
    """What the table needs beside a recipe.

    Attributes:
        seeds: runs, each with a split, an order of images and a start of its own.
        photos: test photos, the same for every row, over which the paper's own figure is a mean.
        resnet: encoder of the regression baseline; one whose weights are not at hand starts from random ones, and
            then all of it learns.
        resnet_epochs: passes over the train split (the paper: 5).
    """

    seeds: int = 1
    photos: int = 50
    resnet: str = PAPER_RESNET
    resnet_epochs: int = 5

    def __post_init__(self) -> None:
        for key in ("seeds", "photos", "resnet_epochs"):
            if getattr(self, key) < 1:
                raise ConfigError(f"'{key}' is {getattr(self, key)}; it must be at least 1.")


def run_table1(recipe: Recipe, plan: Table1Plan, out: Path) -> Table1:
    """Fit and measure every row, or go on with a run that was stopped.

    Args:
        recipe: source, split, encoder, geocells, training and finetuning of the ViT rows; their alpha and
            temperature are the table's.
        plan: the rest.
        out: folder for rows, indexes and the report.

    Raises:
        GeoindexError: if a row cannot be fitted; those before it are kept.
    """
    source = open_source(resolve_recipe(recipe, {}).source, columns=recipe.columns)
    if isinstance(source, EmbeddedSource):
        raise ConfigError("Table 1 needs images; features alone cannot teach an encoder.")
    recipe = replace(recipe, training=replace(recipe.training, method="images"))
    runs, resnet = [], _resnet_name(_resnet(plan, recipe).spec)
    for number in range(plan.seeds):
        seed = recipe.seed + number
        seeded = replace(recipe, seed=seed, encoder=_reseeded(recipe.encoder, seed))
        runs.append(_Run(source, seeded, plan, out / f"seed-{seed}", out / "images").rows())
    settings = {"recipe": recipe_to_dict(recipe), "plan": asdict(plan), "first": _facts(source, recipe)}
    lines = tuple(_lines(_vit(recipe.encoder), resnet))
    return Table1(lines, runs, _photos(runs, plan, recipe.seed), settings)


def _facts(source: Source, recipe: Recipe) -> dict[str, Any]:
    _, split, _ = read_samples(source, recipe)
    counts = {part: int((split == part).sum()) for part in ("train", "test")}
    return {"encoder": recipe.encoder, "source": source.uri, **counts}


def _lines(vit: str, resnet: str) -> Iterator[Line]:
    """Yield the rows in order, with what the paper found."""
    haversine = HAVERSINE.format(vit)
    yield Line("human, 8 players (quoted)", "quoted", 1219.8)
    yield Line(DEGREES.format(resnet), "paper", 9328.7)
    yield Line(haversine, "paper", 208.6)
    for temperature, alpha, found_km in CONTRASTIVE:
        yield Line(contrastive(vit, temperature, alpha), "paper", found_km, haversine)
    yield Line(UNIT.format(resnet), "beside")
    yield Line(UNIT.format(vit), "beside")
    yield Line(ruled(haversine), "beside")
    for temperature, alpha, _ in CONTRASTIVE:
        yield Line(ruled(contrastive(vit, temperature, alpha)), "beside", None, ruled(haversine))
    yield Line(NEAREST_IMAGE, "beside")
    yield Line(SHUFFLED.format(vit), "floor")
    yield Line(CONSTANT, "floor")
    yield Line(RANDOM, "other floor")


def contrastive(vit: str, temperature: float, alpha: float) -> str:
    """Return the name of a row of the grid."""
    return f"{vit} + contrastive, tau {temperature:g}, alpha {alpha:g}"


def ruled(name: str) -> str:
    """Return the name of the row that answers by the index's own rule instead of the paper's."""
    return f"{name}, own rule"


def _vit(spec: str) -> str:
    """Return how the rows of the encoder begin: what it is called, the notes say."""
    return f"ViT, {RANDOM_INIT}" if _is_random(spec) else "ViT"


def _is_random(spec: str) -> bool:
    return ":" in spec and not Path(spec).exists() and parse_spec(spec).is_random


def _resnet_name(spec: str) -> str:
    model = spec.partition(":")[2].partition("/")[0].partition("?")[0] or Path(spec).name
    return f"{model}, {RANDOM_INIT}" if _is_random(spec) else model


def _reseeded(spec: str, seed: int) -> str:
    """Return the name of an encoder whose random weights, if it has such, are drawn anew."""
    return re.sub(r"(?<=[?&]seed=)\d+", str(seed), spec)


def _resnet(plan: Table1Plan, recipe: Recipe) -> Encoder:
    """Return the encoder of the regression baseline; with random weights where the published cannot be had."""
    encoding = replace(recipe.encoding, image_size=_image_size(recipe))
    try:
        return load_encoder(plan.resnet, encoding)
    except WeightsNotFoundError as error:
        spec = f"{plan.resnet.partition('?')[0].partition('.')[0]}/random?seed={recipe.seed}"
        log.warning("%s Going on with random weights; all of them learn.", error)
        return load_encoder(spec, encoding)


def _image_size(recipe: Recipe) -> int:
    """Return the pixels a side that the ViT sees; the baseline sees the same."""
    return choose_encoder(recipe.encoder, recipe.encoding, recipe.weights).image_size


def _photos(runs: list[dict[str, Errors]], plan: Table1Plan, seed: int) -> list[list[str]]:
    """Return the ids over which the paper's figure is a mean, the same in every row of a run."""
    chosen = []
    for number, rows in enumerate(runs):
        common = sorted(set.intersection(*(set(errors) for errors in rows.values())))
        if not common:
            raise ConfigError("The test split is empty; change split_ratio or take more images.")
        random = np.random.default_rng([seed, number])
        chosen.append([common[i] for i in random.permutation(len(common))[: plan.photos]])
    return chosen


class _Run:
    """All rows of one seed."""

    def __init__(self, source: Source, recipe: Recipe, plan: Table1Plan, folder: Path, kept: Path) -> None:
        self.source, self.recipe, self.plan, self.folder, self.kept = source, recipe, plan, folder, kept
        self.samples, self.split, _ = read_samples(source, recipe)
        self.row_of = {name: row for row, name in enumerate(self.samples.ids)}
        self.vit = _vit(recipe.encoder)

    def rows(self) -> dict[str, Errors]:
        """Return the errors of every row by its name."""
        vit = self.vit
        found: dict[str, Errors] = {}
        found |= self._kept("haversine", partial(self._retrieval, "haversine", HAVERSINE.format(vit), 0.0, 0.5))
        for temperature, alpha, _ in CONTRASTIVE:
            slug, name = f"contrastive-{temperature:g}-{alpha:g}", contrastive(vit, temperature, alpha)
            found |= self._kept(slug, partial(self._retrieval, slug, name, alpha, temperature))
        found |= self._kept("shuffled", self._shuffled)
        encoder = choose_encoder(self.recipe.encoder, self.recipe.encoding, self.recipe.weights)
        found |= self._regression("vit-unit", UNIT.format(vit), encoder, UnitHead, self.recipe)
        encoder = _resnet(self.plan, self.recipe)
        name, recipe = _resnet_name(encoder.spec), _resnet_recipe(self.recipe, self.plan, encoder.spec)
        found |= self._regression("resnet-degrees", DEGREES.format(name), encoder, DegreesHead, recipe)
        found |= self._regression("resnet-unit", UNIT.format(name), encoder, UnitHead, recipe)
        return found

    def _kept(self, slug: str, make: Callable[[], dict[str, Errors]]) -> dict[str, Errors]:
        """Return the rows of an earlier run with the same settings, or make and keep them."""
        path, key = self.folder / f"{slug}.json", self._key()
        if path.exists():
            stored = json.loads(path.read_text("utf-8"))
            if stored["key"] == key:
                rows: dict[str, Errors] = stored["rows"]
                return rows
            raise ConfigError(f"'{self.folder}' holds a table with other settings; delete it, or take another --out.")
        log.warning("table1, seed %d: %s", self.recipe.seed, slug)
        rows = make()
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, json.dumps({"key": key, "rows": rows}).encode())
        return rows

    def _key(self) -> str:
        facts = json.dumps([recipe_to_dict(self.recipe), self.plan.resnet, self.plan.resnet_epochs], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()

    def _retrieval(self, slug: str, name: str, alpha: float, temperature: float) -> dict[str, Errors]:
        """Fine-tune with one loss, and answer as the paper does and as the index does by default."""
        training = replace(self.recipe.training, alpha=alpha, temperature=temperature)
        index, queries = self._built(self.source, replace(self.recipe, training=training), slug)
        errors = rule_errors(index, queries)
        rows = {name: errors["nearest"], ruled(name): errors[str(index.manifest.rule["name"])]}
        if alpha == 0.0:
            floors = floor_errors(index, queries, self.recipe.seed)
            rows[NEAREST_IMAGE] = floors["1-NN, same embeddings"]
            rows[RANDOM] = floors["random pairing"][: len(queries.ids)]  # one draw a photo
            rows[CONSTANT] = self._constant_km(queries)
        return {row: _by_id(queries.ids, off_km) for row, off_km in rows.items()}

    def _shuffled(self) -> dict[str, Errors]:
        """Learn from photos whose positions were dealt anew: what that answers, chance has taught."""
        source = ShuffledSource(self.source, self.samples, self.split, self.recipe.seed)
        recipe = replace(self.recipe, sample=None, training=replace(self.recipe.training, alpha=0.0))
        index, queries = self._built(source, recipe, "shuffled")
        return {SHUFFLED.format(self.vit): _by_id(queries.ids, rule_errors(index, queries)["nearest"])}

    def _built(self, source: Source, recipe: Recipe, slug: str) -> tuple[GeoIndex, Queries]:
        """Return an index, and its test photos with their true positions."""
        index = open_index(build_from(source, recipe, self.folder / slug, self.kept).path)
        queries = split_queries(index, "test")
        rows = np.array([self.row_of[name] for name in queries.ids], np.int64)
        return index, replace(queries, lat=self.samples.lat[rows], lon=self.samples.lon[rows])

    def _constant_km(self, queries: Queries) -> Floats:
        """Return how far off the point is that has the least mean distance from the train split."""
        train = self.split == "train"
        lat, lon = self.samples.lat[train], self.samples.lon[train]
        point = best_constant(lat, lon, self.recipe.seed, np.negative)
        return haversine_km(*point, queries.lat, queries.lon)

    def _regression(
        self, slug: str, name: str, encoder: Encoder, head: type[DegreesHead | UnitHead], recipe: Recipe
    ) -> dict[str, Errors]:
        """Return the row of a network that answers with points of its own."""

        def fit() -> dict[str, Errors]:
            folder = self.folder / slug
            rows, points = regress(self.source, self.samples, self.split, encoder, head, recipe, folder, self.kept)
            off_km = haversine_km(points[:, 0], points[:, 1], self.samples.lat[rows], self.samples.lon[rows])
            return {name: _by_id(self.samples.take(rows).ids, off_km)}

        return self._kept(slug, fit)


def _resnet_recipe(recipe: Recipe, plan: Table1Plan, spec: str) -> Recipe:
    """Return the paper's settings of the baseline (section 4.1): last two blocks and head, batches of 32."""
    training = TrainingRecipe(
        method="images", epochs=plan.resnet_epochs, patience=plan.resnet_epochs, lr=1e-3, weight_decay=1e-4,
        places=32, images=1,
    )  # fmt: skip
    weights: Literal["all", "last"] = "all" if _is_random(spec) else "last"
    own = replace(recipe.finetuning, weights=weights, blocks=2, lr=1e-3, weight_decay=1e-4)
    return replace(recipe, training=training, finetuning=own)


def _by_id(ids: list[str], off_km: Floats) -> Errors:
    return dict(zip(ids, map(float, off_km), strict=True))
