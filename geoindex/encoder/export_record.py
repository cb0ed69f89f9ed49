"""What is known of an export: which encoder it is, how close to torch, and the checksum of each file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoindex.encoder.backbone import Architecture
from geoindex.encoder.backends import version_of
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.store.durable import FileRecord, sync, write_durably

NAME = "export.json"
FORMAT = 1
"""Version of what is written and of how models are exported; an export of another one is made again."""


@dataclass(frozen=True)
class ExportRecord:
    """An export that was compared with torch when it was made.

    Attributes:
        backend: what it was made for.
        version: of the library that it was compared with.
        encoder: as `Encoder.to_config` gives it.
        cosine: between its features and those of torch: the least, the mean, and of how many images.
        files: size and checksum of each file.
    """

    backend: str
    version: str
    encoder: Mapping[str, Any]
    cosine: Mapping[str, float]
    files: Mapping[str, FileRecord]

    @property
    def architecture(self) -> Architecture:
        """The model without its weights."""
        return Architecture(**self.encoder["architecture"])

    @property
    def preprocessing(self) -> Preprocessing:
        """What the model wants of its pixels."""
        return Preprocessing.from_dict(self.encoder["preprocessing"])


def write_record(record: ExportRecord, folder: Path) -> None:
    """Write the record beside the files, which must be on the disk already."""
    content = _canonical(asdict(record))
    whole = {"format": FORMAT, "sha256": hashlib.sha256(content).hexdigest(), "export": json.loads(content)}
    write_durably(folder / NAME, json.dumps(whole, indent=1).encode())


def measure_files(folder: Path) -> dict[str, FileRecord]:
    """Wait until all files of a folder are on the disk, and return size and checksum of each."""
    paths = sorted(folder.iterdir())
    for path in paths:
        sync(path)
    return {path.name: FileRecord.of(path) for path in paths}


def read_record(folder: Path, backend: str, fingerprint: str) -> ExportRecord | None:
    """Return what is known of the export in a folder, if every byte of it is what was written for this use.

    Args:
        folder: where it lies.
        backend: what must have been its purpose.
        fingerprint: of the encoder that it must be.
    """
    try:
        whole = json.loads((folder / NAME).read_bytes())
        content = _canonical(whole["export"])
        if whole["format"] != FORMAT or hashlib.sha256(content).hexdigest() != whole["sha256"]:
            return None
        files = {name: FileRecord(**entry) for name, entry in whole["export"]["files"].items()}
        record = ExportRecord(**whole["export"] | {"files": files})
        fits = (record.backend, record.version) == (backend, version_of(backend))
        fits = fits and record.encoder["fingerprint"] == fingerprint
        return record if fits and all(entry.fits(folder / name) for name, entry in files.items()) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
