"""A generation on object storage: the list of its files, and the objects that hold their bytes.

An object is named by the checksum of what it holds, so it is written once, whoever needs it, and never changes.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoindex.errors import IndexDamagedError, IndexVersionError
from geoindex.store.archive import SAFE
from geoindex.store.copying import Part, parts_of
from geoindex.store.durable import FileRecord
from geoindex.store.generations import Generation, IndexFolder
from geoindex.store.manifest import MANIFEST_NAME, digest
from geoindex.store.pointer import pointer_to

KIND, FORMAT = "geoindex listing", 1
OBJECTS = "objects"
LISTINGS = "generations"
SHORT = 12
"""Digits of a digest that are enough for a name."""


def object_of(record: FileRecord) -> str:
    """Return the name of the object that holds a file; it says what its bytes must be.

    That is the sha256 of the bytes, or of the digests of their blocks, with the size of a block behind it.
    """
    return f"{OBJECTS}/{record.sha256}" + (f"-{record.block_bytes}" if record.block_bytes else "")


@dataclass(frozen=True, slots=True)
class Listing:
    """What a generation stands on.

    Attributes:
        generation: its name.
        counts: images, gallery, val, test, cells, clusters.
        parts: the files, in an order that is always the same.
    """

    generation: str
    counts: dict[str, int]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, index: IndexFolder, generation: Generation) -> "Listing":
        """List the files of a generation.

        Raises:
            IndexDamagedError: if one is gone, or a record of checksums is damaged.
        """
        manifest = generation.manifest
        return cls(manifest.generation, manifest.counts, parts_of(index, generation))

    @property
    def manifest(self) -> str:
        """The sha256 of the manifest, which is what makes a generation that one and no other."""
        name = f"generations/{self.generation}/{MANIFEST_NAME}"
        return next((part.record.sha256 for part in self.parts if part.name == name), "")

    @property
    def label(self) -> str:
        """What tells it from every other, in short."""
        return label_of(self.pointer())

    @property
    def name(self) -> str:
        """Name of the object that holds it."""
        return f"{LISTINGS}/{self.label}.json"

    def pointer(self) -> dict[str, str]:
        """Return what names it: the generation, and the sha256 of the text of this list."""
        return pointer_to(self.generation, self.to_json())

    def to_pointer(self) -> bytes:
        """Return what names it as text."""
        return json.dumps(self.pointer()).encode()

    def objects(self) -> dict[str, Part]:
        """Return the objects by name, each with a file that holds the same."""
        return {object_of(part.record): part for part in reversed(self.parts)}

    def files(self, root: Path) -> dict[str, Path]:
        """Return a file for each object, by its name, in the index at `root`."""
        return {name: root / part.name for name, part in self.objects().items()}

    def to_json(self) -> bytes:
        """Return it as text, the same for the same generation."""
        files = [{"name": part.name, **asdict(part.record)} for part in self.parts]
        facts = {"kind": KIND, "format": FORMAT, "generation": self.generation, "counts": self.counts, "files": files}
        return (json.dumps(facts) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes, pointer: dict[str, str], where: str) -> "Listing":
        """Read it back.

        Args:
            data: its text.
            pointer: what names it.
            where: what the text was read from, for people.

        Raises:
            IndexVersionError: if a later geoindex wrote it in another format.
            IndexDamagedError: if it is not what was written.
        """
        try:
            values: dict[str, Any] = json.loads(data)
            kind, version = values["kind"], values["format"]
            if digest(data) != pointer["sha256"]:
                raise ValueError("other bytes than were written")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise damaged(where) from error
        if kind == KIND and version != FORMAT:
            raise IndexVersionError(
                f"'{where}' has format {version}, this geoindex reads format {FORMAT}; install a later one."
            )
        try:
            parts = tuple(Part(str(f.pop("name")), FileRecord(**f)) for f in values["files"])
            listing = cls(str(values["generation"]), dict(values["counts"]), parts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(where) from error
        safe = all(SAFE.fullmatch(part.name) and part.record.sha256.isalnum() for part in parts)
        if listing.generation != pointer["generation"] or not safe:
            raise damaged(where)
        return listing


def label_of(pointer: dict[str, str]) -> str:
    """Return what tells a generation from every other, in short: its name, and some digits of its list's digest."""
    return f"{pointer['generation']}-{pointer['sha256'][:SHORT]}"


def damaged(where: str) -> IndexDamagedError:
    """Return the error for an object that is not what was written."""
    return IndexDamagedError(
        f"'{where}' is not what was written; delete it, and publish the index again with 'geoindex clone FOLDER URL'."
    )
