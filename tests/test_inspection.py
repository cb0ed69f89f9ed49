"""What an index holds."""

import json

import pytest
from tiles import HUBS, PER_HUB, snapshot

from geoindex.errors import IndexNotFoundError
from geoindex.inspection import inspect_index


def test_facts_are_those_of_the_manifest(built, index):
    info = inspect_index(built.path)
    assert info.manifest == index.manifest
    assert info.generations == ("000001",)
    assert sum(info.countries.values()) == built.counts["gallery"]
    assert info.manifest.counts["images"] == PER_HUB * len(HUBS)


def test_sizes_are_those_on_the_disk(built):
    info = inspect_index(built.path)
    work = [size for name, (size, _) in snapshot(built.path).items() if name not in ("CURRENT", ".lock")]
    assert sum(info.bytes.values()) == sum(work)
    assert {"generations", "images.lance", "cells.lance", "clusters.lance"} <= info.bytes.keys()


def test_the_report_is_json_and_text(built):
    info = inspect_index(built.path)
    facts = json.loads(json.dumps(info.to_dict()))
    assert facts["counts"] == built.counts
    assert facts["encoder"]["spec"].startswith("timm:")
    text = info.to_text()
    assert str(built.path) in text
    assert f"{built.counts['gallery']} in the gallery" in text
    assert all(line.split()[0] for line in text.splitlines())


def test_no_index_is_an_error(tmp_path):
    with pytest.raises(IndexNotFoundError, match="geoindex build"):
        inspect_index(tmp_path / "none")


def test_inspection_writes_nothing(index_folder):
    before = snapshot(index_folder)
    inspect_index(index_folder)
    assert snapshot(index_folder) == before
