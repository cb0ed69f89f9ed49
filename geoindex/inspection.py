"""What an index holds, without opening it for queries."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from geoindex.recipe import Recipe
from geoindex.recipe_files import recipe_to_dict
from geoindex.remote.cache import open_copy, use_copy
from geoindex.store.address import folder_of, url_of
from geoindex.store.drift import Drift
from geoindex.store.durable import reading_errors
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.history import History, list_generations
from geoindex.store.manifest import Manifest, check_parts
from geoindex.store.sidecar import open_sidecar
from geoindex.store.space import size_text

TOP_COUNTRIES = 10
PRIOR = {True: "on", False: "off"}
POINTER = ("CURRENT", ".lock")
"""Files of an index that hold nothing of it."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index holds.

    Attributes:
        path: its folder, or its URL; what it lists then is of the copy in the cache.
        manifest: of the live generation.
        history: the generations on the disk, oldest first.
        bytes: size by part: each file of the live generation, other generations, each table, encoder and whatever
            else lies in the folder.
        countries: gallery images by country of their cluster, largest first; empty name where it is unknown.
    """

    path: Path | str
    manifest: Manifest
    history: History
    bytes: dict[str, int]
    countries: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON types."""
        m = self.manifest
        facts = {
            "path": str(self.path), "generation": m.generation, "parent": m.parent, "created": m.created,
            "format_version": m.format_version, "source": m.source, "encoder": m.encoder, "dim": m.dim,
            "counts": m.counts, "drift": m.drift, "posterior": m.posterior, "rule": m.rule,
            "geocells": m.geocells.get("chosen"), "training": _fit(m),
            "left_out": m.left_out, "timings_s": m.timings_s, "calibration": m.calibration,
            "recipe": m.recipe,
        }  # fmt: skip
        history = [asdict(each) for each in self.history.generations]
        return facts | {"generations": history, "bytes": self.bytes, "countries": self.countries}

    def to_text(self) -> str:
        """Return the facts as lines for people."""
        m, counts = self.manifest, self.manifest.counts
        changed = ", ".join(f"{key} {value}" for key, value in _changed(m.recipe).items())
        rows = {
            "index": f"{self.path}, generation {m.generation} of {m.created}, format {m.format_version}",
            "source": m.source,
            "encoder": _encoder(m),
            "recipe": changed or "all keys as they come",
            "images": f"{counts['gallery']:,} in the gallery, {counts['val']:,} val, {counts['test']:,} test"
            + (f"; {counts['removed']:,} removed" if counts.get("removed") else ""),
            "changed": _since(m),
            "left out": ", ".join(f"{each['count']:,} {why}" for why, each in m.left_out.items()) or "nothing",
            "divided": f"{counts['cells']:,} cells, {counts['clusters']:,} clusters",
            "learned": _learned(m),
            "answers": _answers(m),
            "confidence": _calibrated(m.calibration),
            "countries": self._countries_text(),
            "on disk": size_text(sum(self.bytes.values())),
        }
        lines = [f"{name:<12} {text}" for name, text in rows.items()]
        return "\n".join([*lines, *self._size_lines(), "", self.history.to_text()])

    def _countries_text(self) -> str:
        known = {name: count for name, count in self.countries.items() if name and count}
        largest = ", ".join(f"{name} {count:,}" for name, count in list(known.items())[:TOP_COUNTRIES])
        more = len(known) - TOP_COUNTRIES
        unknown = self.countries.get("", 0)
        parts = [largest, f"{more} more" if more > 0 else "", f"unknown {unknown:,}" if unknown else ""]
        return f"{len(known)}; most in " + ", ".join(part for part in parts if part)

    def _size_lines(self) -> list[str]:
        largest = sorted(self.bytes.items(), key=lambda item: -item[1])
        return [f"  {name:<24}{size_text(size):>9}" for name, size in largest if size]


def inspect_index(path: str | PathLike[str]) -> IndexInfo:
    """Read what an index holds.

    Raises:
        StoreError: if there is no index, or it is damaged.
    """
    if url := url_of(path):
        return replace(use_copy(open_copy(url), inspect_index), path=url)
    folder = IndexFolder(folder_of(path))
    with reading_errors(folder.root):
        return _info(folder, folder.current())


def _info(folder: IndexFolder, generation: Generation) -> IndexInfo:
    check_parts(generation.manifest, generation.folder)
    clusters = open_sidecar(generation).clusters
    countries: Counter[str] = Counter()
    for place, count in zip(clusters["place"].to_pylist(), clusters["n_images"].to_pylist(), strict=True):
        countries[place.rpartition(", ")[2]] += count
    history = list_generations(folder.root)
    return IndexInfo(folder.root, generation.manifest, history, _sizes(generation), dict(countries.most_common()))


def _sizes(generation: Generation) -> dict[str, int]:
    """Return the size of each part of an index, in bytes."""
    root = generation.folder.parent.parent
    sizes: Counter[str] = Counter()
    for file in root.rglob("*"):
        if file.is_file() and file.relative_to(root).as_posix() not in POINTER:
            sizes[_part(file.relative_to(root).parts, generation.folder.name)] += file.stat().st_size
    return dict(sizes)


def _part(place: tuple[str, ...], live: str) -> str:
    """Name the part of an index that the file at `place` below it belongs to."""
    if place[0] == "generations":
        return place[2] if len(place) > 2 and place[1] == live else "other generations"
    return place[1] if place[0] == "tables" and len(place) > 1 else place[0]


def _since(manifest: Manifest) -> str:
    """Say what came and went since the cells were made, and whether a rebuild is due."""
    if manifest.drift is None:
        return "nothing since its cells were made"
    drift = Drift(**manifest.drift)
    due = f"; a rebuild is due: {drift.due}" if drift.due else ""
    return f"{drift.added:,} added and {drift.removed:,} removed since generation {drift.since}{due}"


def _encoder(manifest: Manifest) -> str:
    entry = manifest.encoder
    kept = ", kept in the index" if entry["kept"] else ""
    features = f"features of {entry['feature_dim']}, embeddings of {manifest.dim}"
    return f"{entry['spec'] or 'none'} ({entry['fingerprint'][:12]}{kept}), {features}"


def _fit(manifest: Manifest) -> dict[str, Any] | None:
    """Return which epoch of how many was kept, and its score on validation; None for prototypes."""
    fit = manifest.training or {}
    try:
        best, epochs = fit["best_epoch"], fit["history"]
        return {"best_epoch": best, "epochs": len(epochs) - 1, "geoscore": epochs[best]["geoscore"]}
    except (LookupError, TypeError):
        return None


def _answers(manifest: Manifest) -> str:
    rule, posterior = manifest.rule, manifest.posterior
    level = posterior.get("images")
    images = f", {level['weight']:.0%} of the probability with stored images" if level else ""
    return f"rule {rule['name']} (by {rule.get('chosen_on')}), prior {PRIOR[posterior['prior']]}{images}"


def _calibrated(learned: dict[str, Any] | None) -> str:
    if learned is None:
        return "never calibrated"
    photos, groups = learned["photos"], learned["groups"]
    apart = "" if groups == photos else f", of {groups:,} groups that the split kept together"
    return f"calibrated for rule {learned['rule']} on {photos:,} validation photos{apart}"


def _learned(manifest: Manifest) -> str:
    score = manifest.geoscore
    validation = "" if score is None else f"; GeoScore {score:,.0f} on validation"
    fit = _fit(manifest)
    if fit is None:
        return f"nothing: geo-embeddings are means{validation}"
    return f"geo-embeddings of epoch {fit['best_epoch']} of {fit['epochs']}{validation}"


def _changed(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe that are not as they come, but the source, which has a line of its own."""
    usual = _flat(json.loads(json.dumps(recipe_to_dict(Recipe()))))  # tuples are lists in a manifest
    return {key: value for key, value in _flat(recipe).items() if usual.get(key) != value and key != "source"}


def _flat(values: dict[str, Any], start: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{start}{key}.") if isinstance(value, dict) else {start + key: value}
    return flat
