"""Im2GPS3k by author: is an index better than its floors and published rivals, and does it know how good it is?

    python benchmarks/confidence.py [--quick] [--json FILE] [--work DIR]

DeiT-tiny, five folds by author as in finetuning.py; for each an index is built as geoindex builds it by default from
the stored features of the others (a tenth of their authors is validation) and asked for the fold. All answers are
pooled, those of floors, rivals and every rule too; intervals and paired differences, photo by photo, are 95 % ones from
a bootstrap over authors. The photos are embedded once, into an index below --work. Needs the folder of real data;
without it the benchmark says so and ends. planted.py asks the same where the evidence is strong.
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
from finetuning import ENCODER, FOLDS, folds
from machine import describe_machine, needed_folder
from systems import Answered, Resampling, ask_all, figures, table, verdicts

from geoindex.evaluation.confidence import ConfidenceReport
from geoindex.evaluation.queries import Queries
from geoindex.index import open_index
from geoindex.pipeline import build_from, build_index
from geoindex.recipe import Recipe
from geoindex.sources.source import LeftOut, Scan
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images
from geoindex.types import Samples


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


def photos(source: StoredFeatures, count: int) -> Iterator[Answered]:
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
            yield ask_all(index, Queries("fold", held.ids, held.lat, held.lon, vectors), authors[fold_of == fold])


def report(answered: Answered) -> tuple[str, dict[str, Any]]:
    """Return the tables, and the figures."""
    confidence = ConfidenceReport.measure(answered.sureness)
    lines = [f"{len(answered.bits)} photos of {len(np.unique(answered.group))} authors, each held out of its gallery"]
    lines += ["", table(answered), "", verdicts(answered), "", confidence.to_text(), ""]
    for chance in confidence.chances:
        told = ", ".join(f"{each.told:.3f} {each.right:.3f}" for each in chance.bins)
        lines.append(f"within {chance.radius_km:g} km, told and right by tenth: {told}")
    return "\n".join(lines), figures(answered) | {"confidence": confidence.to_dict()}


def by_part(parts: list[Answered]) -> str:
    """Return how far told and right are apart in each fold: what one split by author can show of it."""
    lines = ["| fold | photos | authors | within km | told % | right % | told over right (95 %) | ECE | if kept |"]
    lines.append("| ---" + " | ---:" * 8 + " |")
    for number, part in enumerate(parts):
        draws, authors = Resampling(part.group), len(np.unique(part.group))
        for column, chance in enumerate(ConfidenceReport.measure(part.sureness).chances):
            right = part.sureness.distance_km < chance.radius_km
            over = draws.told(100.0 * (part.sureness.within[:, column] - right), "+.1f")
            shares = f"{100 * chance.told:.1f} | {100 * chance.right:.1f} | {over}"
            errors = f"{chance.error:.3f} | {chance.kept_error:.3f}"
            lines.append(f"| {number} | {len(right)} | {authors} | {chance.radius_km:g} | {shares} | {errors} |")
    return "\n".join(lines)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two of the folds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, help="folder that keeps the embedded photos")
    options = parser.parse_args()
    shared = needed_folder()
    with work_folder(options.work) as work:
        parts = list(photos(embedded(shared, work), 2 if options.quick else FOLDS))
    text, found = report(Answered.pooled(parts))
    print(f"{text}\n\n{by_part(parts)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine(), "im2gps3k": found}) + "\n")


@contextmanager
def work_folder(named: Path | None) -> Iterator[Path]:
    """Give the folder that was named, or one that goes again."""
    with tempfile.TemporaryDirectory() as temporary:
        yield named or Path(temporary)


if __name__ == "__main__":
    main()
