"""What an index holds, without opening it for queries."""

from collections import Counter
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from geoindex.search.searcher import open_sidecar
from geoindex.store.durable import reading_errors
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import Manifest, check_parts

TOP_COUNTRIES = 10
PRIOR = {True: "on", False: "off"}


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index holds.

    Attributes:
        path: its folder.
        manifest: of the live generation.
        generations: names of the generations on the disk.
        bytes: size by part: each file of the generation, each table, encoder.
        countries: gallery images by country of their cluster, largest first.
    """

    path: Path
    manifest: Manifest
    generations: tuple[str, ...]
    bytes: dict[str, int]
    countries: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON types."""
        m = self.manifest
        facts = {
            "path": str(self.path), "generation": m.generation, "parent": m.parent, "created": m.created,
            "format_version": m.format_version, "source": m.source, "encoder": m.encoder, "dim": m.dim,
            "counts": m.counts, "posterior": m.posterior, "rule": m.rule, "geocells": m.geocells.get("chosen"),
            "left_out": m.left_out, "timings_s": m.timings_s, "calibration": m.calibration, "recipe": m.recipe,
        }  # fmt: skip
        return facts | {"generations": list(self.generations), "bytes": self.bytes, "countries": self.countries}

    def to_text(self) -> str:
        """Return the facts as lines for people."""
        m, counts = self.manifest, self.manifest.counts
        most = sorted(self.countries.items(), key=lambda item: -item[1])[:TOP_COUNTRIES]
        rows = {
            "index": f"{self.path}, generation {m.generation} of {m.created}, format {m.format_version}",
            "source": m.source,
            "encoder": f"{m.encoder['spec'] or 'none'} ({m.encoder['fingerprint'][:12]}), embeddings of {m.dim}",
            "images": f"{counts['gallery']} in the gallery, {counts['val']} val, {counts['test']} test",
            "divided": f"{counts['cells']} cells, {counts['clusters']} clusters",
            "answers": f"rule {m.rule['name']} (by {m.rule.get('chosen_on')}), prior {PRIOR[m.posterior['prior']]}",
            "confidence": "calibrated" if m.calibration else "never calibrated",
            "left out": ", ".join(f"{entry['count']} {reason}" for reason, entry in m.left_out.items()) or "nothing",
            "countries": ", ".join(f"{name or 'unknown'} {count}" for name, count in most),
            "on disk": f"{sum(self.bytes.values()) / 1e6:,.1f} MB: "
            + ", ".join(f"{part} {size / 1e6:,.1f}" for part, size in self.bytes.items()),
            "generations": ", ".join(self.generations),
        }
        return "\n".join(f"{name:<12} {text}" for name, text in rows.items())


def inspect_index(path: str | PathLike[str]) -> IndexInfo:
    """Read what an index holds.

    Raises:
        StoreError: if there is no index, or it is damaged.
    """
    folder = IndexFolder(Path(path))
    with reading_errors(folder.root):
        return _info(folder, folder.current())


def _info(folder: IndexFolder, generation: Generation) -> IndexInfo:
    check_parts(generation.manifest, generation.folder)
    clusters = open_sidecar(generation).clusters
    countries: Counter[str] = Counter()
    for place, count in zip(clusters["place"].to_pylist(), clusters["n_images"].to_pylist(), strict=True):
        countries[place.rpartition(", ")[2]] += count
    return IndexInfo(
        folder.root, generation.manifest, tuple(folder.names()), _sizes(folder), dict(countries.most_common())
    )


def _sizes(folder: IndexFolder) -> dict[str, int]:
    parts = {"generations": folder.root / "generations", "encoder": folder.root / "encoder"}
    parts |= {part.name: part for part in sorted(folder.tables.folder.iterdir())}
    return {name: sum(f.stat().st_size for f in part.rglob("*") if f.is_file()) for name, part in parts.items()}
