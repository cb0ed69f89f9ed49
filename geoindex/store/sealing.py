"""The end of writing a generation: every file in its folder gets a record."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from geoindex.store.checked import BLOCKS_SUFFIX, record_file
from geoindex.store.durable import FileRecord
from geoindex.store.generations import Generation
from geoindex.store.manifest import Manifest


def seal(folder: Path, manifest: Manifest, known: Mapping[str, FileRecord] | None = None) -> Generation:
    """Record size and sha256 of every file in a finished folder, but for those whose records are known.

    With `fast` in the manifest the sizes alone are recorded.
    """
    files = dict(known or {})
    for path in sorted(folder.iterdir()):
        if manifest.durability == "fast":
            files.setdefault(path.name, FileRecord.of_size(path))
        elif path.name not in files and path.suffix != BLOCKS_SUFFIX:
            files |= record_file(path)
    return Generation(folder, replace(manifest, files=files))
