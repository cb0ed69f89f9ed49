"""A generation's own copy of the checksums of its tables, so that no list of them can be lost or changed unnoticed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from geoindex.store.durable import FileRecord, write_durably
from geoindex.store.generations import Generation
from geoindex.store.tables import LanceTables

VOUCHERS_NAME = "tables.json"


def write_vouchers(tables: LanceTables, folder: Path, versions: Mapping[str, int]) -> None:
    """Give a generation that is being made its copy."""
    write_durably(folder / VOUCHERS_NAME, _copy_of(tables, versions))


def mend_vouchers(tables: LanceTables, generation: Generation) -> bool:
    """Make a generation's copy again where it is lost; tell whether it is the one that was lost."""
    manifest = generation.manifest
    data, record = _copy_of(tables, manifest.tables), manifest.files[VOUCHERS_NAME]
    if len(data) != record.bytes or record.sha256 not in ("", sha256(data).hexdigest()):
        return False
    write_durably(generation.folder / VOUCHERS_NAME, data)
    return True


def _copy_of(tables: LanceTables, versions: Mapping[str, int]) -> bytes:
    lists = {table: tables.checksums.of_or_nothing(table, version) for table, version in versions.items()}
    values = {table: {file: asdict(record) for file, record in records.items()} for table, records in lists.items()}
    return (json.dumps(values) + "\n").encode()


def read_vouchers(tables: LanceTables, generation: Generation) -> dict[str, dict[str, FileRecord]]:
    """Return the checksums of a generation's tables as it has copied them; nothing if an older geoindex made it.

    Raises:
        IndexDamagedError: if the copy is not what was written.
    """
    if VOUCHERS_NAME not in generation.manifest.files:
        return {}
    values = json.loads(generation.whole(VOUCHERS_NAME).read_bytes())
    copies = {table: {file: FileRecord(**r) for file, r in records.items()} for table, records in values.items()}
    versions = generation.manifest.tables
    return {table: tables.checksums.own(table, versions[table], records) for table, records in copies.items()}
