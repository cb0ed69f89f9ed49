"""What a source is: something that lists samples and hands out their images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import TableError, UnreadableImageError
from geoindex.images import ABSENT, ImageInput
from geoindex.store.buckets import Place
from geoindex.types import Samples

EXAMPLES_KEPT = 5


@dataclass(slots=True)
class LeftOut:
    """What a scan did not take, by reason, with the first few names of each.

    Attributes:
        counts: number left out by reason.
        examples: up to `EXAMPLES_KEPT` names by reason.
        harmless: reasons that say "none of ours" rather than "broken".
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    harmless: set[str] = field(default_factory=set)

    def add(self, reason: str, name: str, count: int = 1, *, broken: bool = True) -> None:
        """Count `name` as left out for `reason`."""
        if not broken:
            self.harmless.add(reason)
        self.counts[reason] = self.counts.get(reason, 0) + count
        names = self.examples.setdefault(reason, [])
        if len(names) < EXAMPLES_KEPT:
            names.append(name)

    def absorb(self, other: "LeftOut") -> None:
        """Count what another part of the same run left out as well."""
        for reason, count in other.counts.items():
            names = other.examples[reason]
            for name in names:
                self.add(reason, name, broken=reason not in other.harmless)
            self.counts[reason] += count - len(names)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LeftOut":
        """Read back what `to_dict` gives."""
        counts = {reason: int(entry["count"]) for reason, entry in values.items()}
        examples = {reason: list(entry["examples"]) for reason, entry in values.items()}
        return cls(counts, examples, {reason for reason, entry in values.items() if not entry["broken"]})

    @property
    def total(self) -> int:
        """Number left out for any reason."""
        return sum(self.counts.values())

    def summary(self) -> str:
        """Return one line, as `3 x position is missing, 1 x id appears twice`; empty if none was left out."""
        return ", ".join(f"{count} x {reason}" for reason, count in self.counts.items())

    def to_dict(self) -> dict[str, Mapping[str, object]]:
        """Return counts and examples as plain JSON types."""
        return {
            reason: {"count": n, "examples": self.examples.get(reason, []), "broken": reason not in self.harmless}
            for reason, n in self.counts.items()
        }


def broken_of(left_out: Mapping[str, Any]) -> int:
    """Return how many samples were broken, not merely none of ours, of what `LeftOut.to_dict` gave."""
    return sum(entry["count"] for entry in left_out.values() if entry["broken"])


def left_out_lines(left_out: Mapping[str, Any]) -> list[str]:
    """Return what `LeftOut.to_dict` gave as lines for people."""
    return [
        f"left out {entry['count']}: {reason} (such as {', '.join(entry['examples'][:3])})"
        for reason, entry in left_out.items()
    ]


def is_utf8(name: str) -> bool:
    """Tell whether a name from a file system or an archive is text that can be stored."""
    return name == name.encode("utf-8", "replace").decode()


def existing_image(place: Place) -> ImageInput:
    """Return the path of an image, or its bytes where it lies on object storage.

    Raises:
        UnreadableImageError: if there is no such file.
    """
    if not place.is_file():
        raise UnreadableImageError(str(place), ABSENT)
    if isinstance(place, Path):
        return place
    with place.open() as file:
        return file.read()


@dataclass(frozen=True, slots=True)
class Scan:
    """What a source found.

    Attributes:
        samples: the usable samples; ids are unique, positions valid.
        left_out: the others, by reason.
    """

    samples: Samples
    left_out: LeftOut


class Source(Protocol):
    """Where samples come from. Implementations can be pickled, and `read` may be called from many threads."""

    @property
    def uri(self) -> str:
        """The URI that opens this source again."""

    def scan(self) -> Scan:
        """List the samples without decoding their images.

        Raises:
            DatasetError: if the source is missing, malformed, or holds nothing usable.
        """

    def file_of(self, image: str) -> Place | None:
        """Return the file that holds an image, so that a change of it can be noticed; None: it never changes."""

    def read(self, image: str) -> ImageInput:
        """Return the image that a sample's `image` names, for `geoindex.images.load_image`.

        Raises:
            UnreadableImageError: if it is missing or cannot be read.
        """


@runtime_checkable
class EmbeddedSource(Source, Protocol):
    """A source whose samples come as features already, so that no encoder is needed.

    Attributes:
        dim: length of a feature vector.
        fingerprint: stands for the encoder that made them.
    """

    dim: int
    fingerprint: str

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Return the features of these samples, (N, dim)."""


def scan_images(source: Source) -> Scan:
    """List the samples of a source whose images are going to be read, or whose features are there.

    Raises:
        TableError: if it has positions alone.
        DatasetError: if the source is missing, malformed, or holds nothing usable.
    """
    scan = source.scan()
    if not isinstance(source, EmbeddedSource) and len(scan.samples) and not scan.samples[0].image:
        raise TableError(
            f"'{source.uri}' has positions and no column of images or ids; name one with --column image=NAME."
        )
    return scan


@runtime_checkable
class PreparedSource(Source, Protocol):
    """A source that has some of its images as an encoder wants them."""

    def prepared(self, image: str) -> NDArray[np.uint8] | None:
        """Return the pixels of an image, (3, S, S); None if it has to be read."""
