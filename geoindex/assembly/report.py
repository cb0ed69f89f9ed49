"""What a build or rebuild published."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoindex.progress import Stages
from geoindex.sources.source import broken_of, left_out_lines
from geoindex.store.generations import Generation, IndexFolder


class Published:
    """What reports on an index or an encoder share.

    Attributes:
        path: its folder, or its URL.
        left_out: samples that were not taken: count and examples by reason.
    """

    __slots__ = ()
    path: Path | str
    left_out: dict[str, Any]

    @property
    def failed(self) -> int:
        """Number of samples that are broken, not merely none of ours or there already."""
        return broken_of(self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return {"schema": 1, **asdict(self), "path": str(self.path), "failed": self.failed}  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class BuildReport(Published):
    """What a build or rebuild published.

    Attributes:
        path: folder of the index, or its URL.
        generation: name of the new generation.
        counts: images, gallery, val, test, cells, clusters.
        left_out: samples that were not taken: count and examples by reason.
        rule: rule of estimation that answers by default.
        timings_s: time of each step.
    """

    path: Path | str
    generation: str
    counts: dict[str, int]
    left_out: dict[str, Any]
    rule: dict[str, Any]
    timings_s: dict[str, float]

    @classmethod
    def of(cls, index: IndexFolder, generation: Generation, left_out: dict[str, Any], stages: Stages) -> "BuildReport":
        """Report on a generation that was just published."""
        manifest = generation.manifest
        return cls(index.root, manifest.generation, manifest.counts, left_out, manifest.rule, stages.rounded())

    def to_text(self) -> str:
        """Return the report as lines for people."""
        counts = self.counts
        lines = [
            f"{self.path}: generation {self.generation}, {counts['gallery']} gallery images "
            f"({counts['val']} val, {counts['test']} test) in {counts['cells']} cells and {counts['clusters']} clusters"
        ]
        lines += left_out_lines(self.left_out)
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in self.timings_s.items())
        return "\n".join([*lines, f"{sum(self.timings_s.values()):.1f} s: {steps}"])
