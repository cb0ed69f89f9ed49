"""Does an index know how good its answers are, and are they better than what needs less? Both on held-out photos.

    python benchmarks/confidence.py [--quick] [--json FILE] [--work DIR]

Im2GPS3k with DeiT-tiny: five folds by author as in finetuning.py; for each an index is built as geoindex builds it by
default from the stored features of the others (a tenth of their authors is validation) and asked for the fold. What
the answers told is pooled, and so are the errors of all rules and floors; differences to the index's own rule are
paired, photo by photo, with 95 % intervals from a bootstrap over authors. A planted set at Street View positions, split
by blocks of 100 km, says the same where the evidence is strong. The photos are embedded once, into an index below
--work. Needs the folder of real data; without it the benchmark says so and ends.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from finetuning import ENCODER, FOLDS, difference, folds
from machine import describe_machine, shared_folder

from geoindex.evaluation.confidence import ConfidenceReport, Sureness
from geoindex.evaluation.protocol import Queries, floor_errors, rule_errors, split_queries, sureness_of
from geoindex.geo import nearest
from geoindex.index import GeoIndex, open_index
from geoindex.metrics import accuracy, measure
from geoindex.pipeline import build_from, build_index
from geoindex.recipe import Recipe, TrainingRecipe
from geoindex.sources.planted import PlantedEmbeddings
from geoindex.sources.source import LeftOut, Scan
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images
from geoindex.types import Samples

PLAIN = TrainingRecipe(method="none")
PLANTED = {"dim": 64, "noise": 1.0, "ambiguous": 0.2}


@dataclass
class StoredFeatures:
    """Some photos of an index as a source of features."""

    samples: Samples
    vectors: np.ndarray
    fingerprint: str
    uri: str = "stored:im2gps3k"

    def __post_init__(self) -> None:
        self.dim = self.vectors.shape[1]
        self._row = {name: row for row, name in enumerate(self.samples.ids)}

    def scan(self) -> Scan:
        """List them."""
        return Scan(self.samples, LeftOut())

    def file_of(self, image: str) -> None:
        """Return None: they do not change."""

    def read(self, image: str) -> Any:
        """Refuse: there are features alone."""
        raise NotImplementedError

    def features(self, samples: Samples) -> np.ndarray:
        """Return the features of samples, (N, dim)."""
        return self.vectors[[self._row[name] for name in samples.ids]]

    def part(self, rows: np.ndarray) -> "StoredFeatures":
        """Return the photos at these rows."""
        return StoredFeatures(self.samples.take(rows), self.vectors[rows], self.fingerprint)


@dataclass
class Asked:
    """What an index said to the queries of one part."""

    sureness: Sureness
    errors_km: dict[str, np.ndarray]
    gain_nats: np.ndarray
    group: np.ndarray


def embedded(shared: Path, work: Path) -> StoredFeatures:
    """Embed the photos, or read what was embedded before."""
    path = work / "photos"
    if not (path / "CURRENT").exists():
        weights = str(shared / "weights/deit_tiny_patch16_224.safetensors")
        keys = {"encoder": ENCODER, "weights": weights, "split_by": "none", "training": {"method": "none"}}
        build_index(str(shared / "data/im2gps3k/metadata.csv"), out=path, **keys)
    index = IndexFolder(path)
    manifest = index.current().manifest
    images = stored_images(index, manifest.tables["images"])
    vectors = np.zeros((len(images.facts), manifest.encoder["feature_dim"]), np.float32)
    for split in ("train", "val", "test"):
        for rows, features in images.features(split):
            vectors[rows] = features
    columns = {name: images.facts[name].to_pylist() for name in ("id", "lat", "lon", "image")}
    samples = Samples.from_columns(columns | {"author": images.label("author")})
    return StoredFeatures(samples, vectors, manifest.encoder["fingerprint"])


def ask(index: GeoIndex, queries: Queries, group: np.ndarray) -> Asked:
    """Ask an index for queries; `group` is the author or block of each."""
    sureness = sureness_of(index, queries, 0)
    assert sureness is not None, "too few validation photos to calibrate"
    rule = str(index.manifest.rule["name"])
    rules = rule_errors(index, queries)
    floors = {name.split(" (")[0]: errors for name, errors in floor_errors(index, queries, 0).items()}
    errors = {"geoindex": rules[rule], "best constant": floors["best constant"]}
    errors |= {"1-NN": floors["1-NN, same embeddings"]} | {f"rule {name}": off for name, off in rules.items()}
    return Asked(sureness, errors, gain_nats(index, queries), group)


def gain_nats(index: GeoIndex, queries: Queries) -> np.ndarray:
    """Return log p(true cell | photo) less that of the cell's share of the gallery, (Q,), by nearest site."""
    cells = index.searcher.sidecar.cells
    sites = (cells[name].to_numpy() for name in ("site_lat", "site_lon"))
    true = nearest(*sites, queries.lat, queries.lon)[0]
    ranker = index.searcher.ranker
    logits = ranker.scales.cell * index.searcher.ann.cells.exact(queries.embeddings) + ranker.weights.cell
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    images = index.searcher.geography.cell_images
    return log_p[np.arange(len(true)), true] - np.log(images / images.sum())[true]


def photos(source: StoredFeatures, count: int) -> Iterator[Asked]:
    """Yield what the index of each fold says to its photos, of the first `count` folds."""
    authors = np.array(source.samples.label("author"))
    fold_of = folds([{"author": author} for author in authors], FOLDS)
    for fold in range(count):
        with tempfile.TemporaryDirectory() as folder:
            gallery, asked = (source.part(np.flatnonzero((fold_of == fold) == there)) for there in (False, True))
            recipe = Recipe(source="stored", split_by="author", split_ratio=(0.9, 0.1, 0.0))
            build_from(gallery, recipe, Path(folder) / "index")
            index = open_index(Path(folder) / "index")
            vectors, held = index.projection.apply(asked.vectors), asked.samples
            yield ask(index, Queries("fold", held.ids, held.lat, held.lon, vectors), authors[fold_of == fold])


def planted(positions: Path, count: int) -> Iterator[Asked]:
    """Yield what an index of planted embeddings says to blocks that are held out."""
    with tempfile.TemporaryDirectory() as folder:
        source = PlantedEmbeddings(count, positions=positions, **PLANTED)
        recipe = Recipe(source="planted", split_by="block", split_ratio=(0.7, 0.15, 0.15), training=PLAIN)
        build_from(source, recipe, Path(folder) / "index")
        index = open_index(Path(folder) / "index")
        queries = split_queries(index, "test")
        yield ask(index, queries, np.array([f"{a:.0f},{b:.0f}" for a, b in zip(queries.lat, queries.lon, strict=True)]))


def pooled(parts: list[Asked]) -> tuple[Sureness, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Put the parts together."""
    errors = {name: np.concatenate([part.errors_km[name] for part in parts]) for name in parts[0].errors_km}
    gains, groups = (np.concatenate([getattr(part, name) for part in parts]) for name in ("gain_nats", "group"))
    return Sureness.joined([part.sureness for part in parts]), errors, gains, groups


def report(name: str, parts: list[Asked]) -> tuple[str, dict[str, Any]]:
    """Return the tables of a set, and the figures."""
    sureness, errors, gains, groups = pooled(parts)
    confidence = ConfidenceReport.measure(sureness)
    lines = [f"{name}: {len(gains)} photos of {len(np.unique(groups))} groups held out", "", confidence.to_text(), ""]
    lines += ["| system | median km | GeoScore | <25 km % | <200 km % | <750 km % | GeoScore of geoindex over it |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for system, off in errors.items():
        numbers = measure(off)
        shares = " | ".join(f"{100 * accuracy(off, km):.2f}" for km in (25, 200, 750))
        gain = "" if system == "geoindex" else difference(errors["geoindex"], off, groups)
        lines.append(f"| {system} | {numbers.median_km:,.0f} | {numbers.geoscore:,.0f} | {shares} | {gain} |")
    lines.append(f"\ninformation gain over the prior: {gains.mean() / np.log(2):+.3f} bits a photo")
    bins = confidence.chances[1].bins
    lines.append("within 200 km, told and right by tenth: " + ", ".join(f"{b.told:.3f} {b.right:.3f}" for b in bins))
    figures = {"confidence": confidence.to_dict(), "gain_bits": float(gains.mean() / np.log(2))}
    return "\n".join(lines), figures | {"geoscore": {key: measure(off).geoscore for key, off in errors.items()}}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two of the folds, a small planted set")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, help="folder that keeps the embedded photos")
    options = parser.parse_args()
    shared = shared_folder()
    if shared is None:
        print("No folder of real data here; nothing to measure.")
        return
    with work_folder(options.work) as work:
        source = embedded(shared, work)
        sets = {"Im2GPS3k, DeiT-tiny": list(photos(source, 2 if options.quick else FOLDS))}
    positions = shared / "data/tables/streetview_positions_166k.csv"
    sets["planted"] = list(planted(positions, 6_000 if options.quick else 20_000))
    found = {}
    for name, parts in sets.items():
        text, found[name] = report(name, parts)
        print(f"\n{text}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), **found}) + "\n")


@contextmanager
def work_folder(named: Path | None) -> Iterator[Path]:
    """Give the folder that was named, or one that goes again."""
    with tempfile.TemporaryDirectory() as temporary:
        yield named or Path(temporary)


if __name__ == "__main__":
    main()
