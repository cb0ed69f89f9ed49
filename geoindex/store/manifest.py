"""The manifest: what one generation is, and the size and sha256 of each of its files."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from geoindex.errors import IndexDamagedError, IndexVersionError
from geoindex.store.durable import Durability, FileRecord
from geoindex.store.kinds import (
    between,
    first_odd,
    fits,
    is_count,
    is_file_name,
    is_flag,
    is_scale,
    is_text,
    is_word,
    list_of,
)

FORMAT_VERSION = 2
"""Version of the layout on disk; raised when older code could misread it. Earlier ones are read as well."""

MANIFEST_NAME = "manifest.json"

PARTS = {
    "encoder.spec": is_text, "encoder.fingerprint": is_word, "encoder.feature_dim": is_count, "encoder.kept": is_flag,
    "counts.images": is_count, "counts.gallery": is_count, "counts.val": is_count, "counts.test": is_count,
    "counts.cells": is_count, "counts.clusters": is_count,
    "tables.images": is_count, "tables.cells": is_count, "tables.clusters": is_count,
    "posterior.cell_scale": is_scale, "posterior.cluster_scale": is_scale, "posterior.prior": is_flag,
    "rule.name": is_word, "recipe.search.top_cells": is_scale, "left_out.*.count": is_count,
}  # fmt: skip
"""What the parts of a manifest must hold that answers and lists are made of."""

IMAGE_LEVEL = {"weight": between(0.0, 1.0), "scale": between(0.0, 1e3)}
"""The same of the weight of stored images, where they have one."""


def is_odds(value: Any) -> bool:
    """Tell whether it is an intercept with one slope, as older indexes have it, or with three."""
    if not isinstance(value, Mapping) or not between(-1e3, 1e3)(value.get("intercept")):
        return False
    slopes = value.get("slopes", [value.get("slope")] * 3)
    return list_of(between(0.0, 1e3))(slopes) and len(slopes) == 3


CALIBRATION = {
    "rule": is_word, "photos": is_count, "groups": is_count, "reach_km": list_of(between(0.0, 1e5)),
    **{f"within.{km}": is_odds for km in (25, 200, 750)},
    "shares.50": between(0.0, 1.0), "shares.90": between(0.0, 1.0),
}  # fmt: skip
"""The same of a calibration, where there is one."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation, in words and numbers.

    Attributes:
        generation: its name, six digits.
        parent: the generation that it replaced; empty for the first.
        created: UTC time, ISO 8601.
        recipe: what it was made of, as `recipe_to_dict` gives it.
        source: URI of the samples.
        encoder: spec, fingerprint, feature_dim, and folder if the weights are kept in the index.
        dim: length of embeddings.
        counts: images, removed (rows of photos that are no more), gallery, val, test, cells, clusters.
        tables: version of each Lance table.
        posterior: logit scales and prior, as `Scales` has them, weight and scale of the stored images, as `ImageLevel`
            has them (None or absent if they do not count), and how all were found.
        rule: the rule of estimation that answers by default, with the scores that chose it.
        geocells: the sweep of settings and the chosen one.
        canaries: embeddings with the clusters that they must find.
        left_out: samples that were not taken, by reason.
        timings_s: time of each step of the build.
        training: the epochs that geo-embeddings were learned in, and which was kept; None for prototypes.
        calibration: how sure its answers are, as `Calibration` has it; None if never calibrated.
        drift: what was added and removed since the last build or rebuild, as `Drift` has it; None if nothing was.
        durability: whether what it stands on was waited for and has checksums.
        files: size and sha256 by file name.
        format_version: version of this layout.
    """

    generation: str
    parent: str
    created: str
    recipe: dict[str, Any]
    source: str
    encoder: dict[str, Any]
    dim: int
    counts: dict[str, int]
    tables: dict[str, int]
    posterior: dict[str, Any]
    rule: dict[str, Any]
    geocells: dict[str, Any]
    canaries: list[dict[str, Any]]
    left_out: dict[str, Any]
    timings_s: dict[str, float]
    training: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    drift: dict[str, Any] | None = None
    durability: Durability = "durable"
    files: dict[str, FileRecord] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def geoscore(self) -> float | None:
        """GeoScore of its rule on validation; None without validation."""
        scores = self.rule.get("geoscore")
        found = scores.get(self.rule.get("name")) if isinstance(scores, dict) else None
        return found if fits(found, float) else None

    def to_json(self) -> bytes:
        """Return the manifest as JSON text."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()


def parse_manifest(data: bytes, path: Path) -> Manifest:
    """Read a manifest back.

    Raises:
        IndexVersionError: if it was written by a later format.
        IndexDamagedError: if it is not a manifest.
    """
    try:
        values = json.loads(data)
        while values["format_version"] in MIGRATIONS:
            values = MIGRATIONS[values["format_version"]](values)
        version = values["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "is not a manifest") from error
    if (is_count(version) and version != FORMAT_VERSION) or is_word(version):
        raise IndexVersionError(
            f"The generation at '{path.parent}' has format {version}, this geoindex reads format {FORMAT_VERSION} and "
            "earlier; install the geoindex that wrote it, or build it again in another folder."
        )
    return _from_values(values, path)


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Format 2 has photos that are added and removed between rebuilds; format 1 had none."""
    return values | {"format_version": 2, "drift": None, "counts": {"removed": 0, **values["counts"]}}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_format_1}
"""What turns the values of a manifest of one format into those of the next."""


def _from_values(values: Mapping[str, Any], path: Path) -> Manifest:
    try:
        files = {name: FileRecord(**record) for name, record in values["files"].items()}
        known = {f.name for f in fields(Manifest)}
        manifest = Manifest(**{k: v for k, v in values.items() if k in known} | {"files": files})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(path, "lacks a part") from error
    odd = [f.name for f in fields(Manifest) if not fits(getattr(manifest, f.name), f.type)]
    if odd or not all(map(is_file_name, files)):
        raise _damaged(path, f"has a part of another kind: {(odd or ['files'])[0]}")
    return manifest


def check_parts(manifest: Manifest, folder: Path) -> Manifest:
    """Return the manifest of a generation, which holds all that answers are made of.

    Raises:
        IndexDamagedError: if a part of a part is missing or of another kind.
    """
    odd = first_odd({f.name: getattr(manifest, f.name) for f in fields(Manifest)}, PARTS)
    for name, part, checks in (
        ("posterior.images", manifest.posterior.get("images"), IMAGE_LEVEL),
        ("calibration", manifest.calibration, CALIBRATION),
    ):
        if not odd and part is not None:
            below = first_odd(part, checks) if isinstance(part, dict) else "*"
            odd = f"{name}.{below}" if below else ""
    if odd:
        raise _damaged(folder / MANIFEST_NAME, f"has no '{odd}' that can be meant")
    return manifest


def digest(data: bytes) -> str:
    """Return the sha256 of a manifest's text in hex."""
    return hashlib.sha256(data).hexdigest()


def _damaged(path: Path, fault: str) -> IndexDamagedError:
    return IndexDamagedError(f"'{path}' {fault}; restore it from a copy or build the index again.")
