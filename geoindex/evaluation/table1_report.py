"""What Table 1 found: rows over seeds, which of them learned anything, and whether the contrastive loss helps."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.figures.rows import DrawnRow, draw_rows
from geoindex.metrics import Metrics, measure
from geoindex.store.durable import storage_errors

SURE = 1.96
"""Standard errors within which 95 % of a normal distribution lie."""

NOTE = """\
50: mean km over the same {photos} random test photos in every row, which is what the paper prints; the other columns
are over the whole test split. Mean and spread (standard deviation) of {seeds} seed{s}, each with a split of its own.
Rows of geocells answer as the paper does, by the cluster with the nearest geo-embedding; "own rule" as the index does
by default. A row that does not beat both the constant and the shuffled positions by mean km (95 %) is not learned.
ViT: {encoder}. Source: {source}, {train} photos to train on, {test} to test, in the first seed."""

Errors = dict[str, float]
"""Distance from the truth in km by id of the photo."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table.

    Attributes:
        name: of the system.
        kind: quoted, paper (one of its six), beside, floor (must be beaten), or other floor.
        paper_km: mean km that the paper found.
        over: row that it is to be compared with photo by photo.
    """

    name: str
    kind: str
    paper_km: float | None = None
    over: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much farther off one row is than another, photo by photo.

    Attributes:
        mean_km: mean difference; below 0 the first is nearer.
        low_km, high_km: ends of its 95 % interval over photos.
        seeds_nearer: seeds in which the first is nearer.
    """

    mean_km: float
    low_km: float
    high_km: float
    seeds_nearer: int


@dataclass(frozen=True, slots=True)
class Table1:
    """The table.

    Attributes:
        lines: rows in order.
        runs: errors by row, one dictionary a seed.
        photos: ids that the paper's own figure is a mean over, by seed.
        settings: all that made it.
    """

    lines: tuple[Line, ...]
    runs: list[dict[str, Errors]]
    photos: list[list[str]]
    settings: dict[str, Any]

    def metrics(self, name: str) -> list[Metrics]:
        """Return the metrics of a row over the test split, by seed."""
        return [measure(list(run[name].values())) for run in self.runs]

    def photo_means_km(self, name: str) -> list[float]:
        """Return the mean km of a row over the chosen photos, by seed."""
        chosen = zip(self.runs, self.photos, strict=True)
        return [float(np.mean([run[name][photo] for photo in photos])) for run, photos in chosen]

    def difference(self, name: str, other: str) -> Difference:
        """Compare two rows photo by photo."""
        each = [_paired(run[name], run[other]) for run in self.runs]
        pooled = np.concatenate(each)
        error = SURE * float(pooled.std(ddof=1)) / len(pooled) ** 0.5 if len(pooled) > 1 else float("inf")
        mean = float(pooled.mean())
        return Difference(mean, mean - error, mean + error, sum(bool(part.mean() < 0) for part in each))

    def learned(self, line: Line) -> bool:
        """Tell whether a row beats every floor by mean km, beyond doubt over photos."""
        floors = [floor.name for floor in self.lines if floor.kind == "floor"]
        return all(self.difference(line.name, floor).high_km < 0 for floor in floors)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain JSON types."""
        rows = [asdict(line) | self._figures(line) for line in self.lines]
        return {"schema": 1, "rows": rows, "photos": self.photos, "settings": self.settings}

    def _figures(self, line: Line) -> dict[str, Any]:
        if line.kind == "quoted":
            return {}
        figures: dict[str, Any] = {"photos_mean_km": self.photo_means_km(line.name)}
        figures |= {"seeds": [asdict(metrics) for metrics in self.metrics(line.name)]}
        if line.kind in ("paper", "beside"):
            figures["learned"] = self.learned(line)
        if line.over:
            figures["difference"] = asdict(self.difference(line.name, line.over))
        return figures

    def to_text(self) -> str:
        """Return the table in Markdown, what the contrastive loss is worth, and notes."""
        header = "| system | paper, 50: km | 50: km | mean km | median km | GeoScore | |"
        lines = [header, "| --- | ---: | ---: | ---: | ---: | ---: | --- |"]
        lines += [self._line(line) for line in self.lines]
        seeds, photos = len(self.runs), len(self.photos[0])
        note = NOTE.format(photos=photos, seeds=seeds, s="" if seeds == 1 else "s", **self.settings["first"])
        return "\n".join([*lines, "", *self.verdicts(), "", note])

    def write(self, folder: Path) -> None:
        """Write table1.md, table1.json and table1.png into a folder."""
        text = f"# Table 1\n\n{self.to_text()}\n\nSettings: table1.json.\n"
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "table1.md").write_text(text, "utf-8")
            (folder / "table1.json").write_text(json.dumps(self.to_dict(), indent=1) + "\n", "utf-8")
            rows = [self._drawn(line) for line in self.lines if line.kind != "quoted"]
            draw_rows(rows, folder / "table1.png", title="Table 1: how far off each row is on average")

    def _drawn(self, line: Line) -> DrawnRow:
        values = [metrics.mean_km for metrics in self.metrics(line.name)]
        told = "floor" if "floor" in line.kind else "learned" if self.learned(line) else "not learned"
        return DrawnRow(line.name, values, told)

    def _line(self, line: Line) -> str:
        paper = "" if line.paper_km is None else f"{line.paper_km:,.1f}"
        if line.kind == "quoted":
            return f"| {line.name} | {paper} | | | | | not measured here |"
        metrics = self.metrics(line.name)
        columns = [self.photo_means_km(line.name)]
        columns += [[getattr(each, key) for each in metrics] for key in ("mean_km", "median_km", "geoscore")]
        told = "floor" if "floor" in line.kind else "" if self.learned(line) else "not learned"
        return f"| {line.name} | {paper} | {' | '.join(map(spread, columns))} | {told} |"

    def verdicts(self) -> list[str]:
        """Return one sentence for each row that is compared with another."""
        return [self._verdict(line) for line in self.lines if line.over]

    def _verdict(self, line: Line) -> str:
        found = self.difference(line.name, line.over)
        told = "helps" if found.high_km < 0 else "hurts" if found.low_km > 0 else "makes no sure difference"
        interval = f"{found.mean_km:+,.0f} km ({found.low_km:+,.0f} to {found.high_km:+,.0f})"
        seeds = f"nearer in {found.seeds_nearer} of {len(self.runs)} seeds"
        return f"- {line.name} over {line.over}: {interval}, {seeds}: it {told}."


def spread(values: list[float]) -> str:
    """Return mean and standard deviation over seeds."""
    mean = f"{np.mean(values):,.0f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):,.0f}"


def _paired(own: Errors, other: Errors) -> Floats:
    return np.array([own[photo] - other[photo] for photo in sorted(own.keys() & other.keys())])
