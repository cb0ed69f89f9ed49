"""The end of writing a generation: every file in its folder gets a record."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from geoindex.store.checked import BLOCKS_SUFFIX, record_file
from geoindex.store.durable import FileRecord, write_durably
from geoindex.store.generations import SEAL_NAME, Generation
from geoindex.store.manifest import MANIFEST_NAME, Manifest, digest


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


def seal_faults(generation: Generation) -> list[str]:
    """Compare the checksum that lies beside a manifest with the manifest; without CURRENT it alone vouches for it.

    Generations of older versions have none.
    """
    path = generation.folder / SEAL_NAME
    if not path.is_file() or path.read_bytes().strip() == _digest_of(generation):
        return []
    return [f"'{path}' is not the checksum of the manifest beside it."]


def mend_seal(generation: Generation) -> None:
    """Write the checksum beside a manifest again; CURRENT must vouch for that."""
    write_durably(generation.folder / SEAL_NAME, _digest_of(generation))


def _digest_of(generation: Generation) -> bytes:
    return digest((generation.folder / MANIFEST_NAME).read_bytes()).encode()
