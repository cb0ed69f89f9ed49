"""What an index holds."""

import json
from dataclasses import replace

import pytest
from tiles import HUBS, KEYS, PER_HUB, snapshot

import geoindex
from geoindex.errors import IndexNotFoundError
from geoindex.inspection import inspect_index


def test_facts_are_those_of_the_manifest(built, index):
    info = inspect_index(built.path)
    assert info.manifest == index.manifest
    assert [each.name for each in info.history.generations] == ["000001"]
    assert len(info.countries) >= len(HUBS) - 1  # two of the hubs are of one country
    assert info.countries["Japan"] > 0
    assert sum(info.countries.values()) == built.counts["gallery"]
    assert info.manifest.counts["images"] == PER_HUB * len(HUBS)


def test_sizes_are_those_on_the_disk(built):
    info = inspect_index(built.path)
    work = [size for name, (size, _) in snapshot(built.path).items() if name not in ("CURRENT", ".lock")]
    assert sum(info.bytes.values()) == sum(work)
    assert {"gallery.npy", "index.faiss", "images.lance", "cells.lance", "encoder"} <= info.bytes.keys()
    assert info.bytes["index.faiss"] == (built.path / "generations" / "000001" / "index.faiss").stat().st_size


def test_the_report_is_json_and_text(built):
    info = inspect_index(built.path)
    facts = json.loads(json.dumps(info.to_dict()))
    assert facts["counts"] == built.counts
    assert facts["encoder"]["spec"].startswith("timm:")
    assert [each["name"] for each in facts["generations"]] == ["000001"]
    text = info.to_text()
    assert str(built.path) in text
    assert f"{built.counts['gallery']} in the gallery" in text
    assert "learned      nothing: geo-embeddings are means\n" in text
    assert "never calibrated" in text
    assert ", kept in the index), features of 32, embeddings of 32" in text
    assert "* 000001" in text


def test_the_recipe_is_told_by_what_is_not_as_it_comes(built):
    line = next(line for line in inspect_index(built.path).to_text().splitlines() if line.startswith("recipe "))
    assert line.split(None, 1)[1] == f"encoder {KEYS['encoder']}, encoding.device cpu"


def test_generations_that_were_before_and_what_else_lies_in_the_folder(index_folder):
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 3})
    (index_folder / "quarantine").mkdir()
    (index_folder / "quarantine" / "cells-1.manifest").write_bytes(bytes(1000))
    old = index_folder / "generations" / "000001" / "gallery.npy"
    old.write_bytes(old.read_bytes()[:-1])
    info = inspect_index(index_folder)
    assert info.bytes["quarantine"] == 1000
    assert info.bytes["other generations"] == sum(size for size, _ in snapshot(old.parent).values())
    assert [each.counts.get("cells") for each in info.history.generations] == [None, 3]
    text = info.to_text()
    assert "  000001      damaged: " in text
    assert "geocells.n_cells 3" in text
    assert ["quarantine", "1.0", "kB"] in [line.split() for line in text.splitlines()]


def test_a_fit_is_told_by_its_epoch(tmp_path):
    path = geoindex.build_index("planted:1500?dim=8", out=tmp_path / "index", training={"epochs": 2}).path
    info = inspect_index(path)
    fit = info.to_dict()["training"]
    assert fit["epochs"] == 2
    assert 0 <= fit["best_epoch"] <= 2
    assert fit["geoscore"] > 0
    assert f"geo-embeddings of epoch {fit['best_epoch']} of 2; GeoScore " in info.to_text()
    assert "encoder      none (planted-" in info.to_text()


def test_many_countries_and_removed_photos(built):
    info = inspect_index(built.path)
    counts = info.manifest.counts | {"removed": 1234}
    many = {"": 7} | {f"country {i}": 2000 - i for i in range(15)}
    text = replace(info, manifest=replace(info.manifest, counts=counts), countries=many).to_text()
    assert "; 1,234 removed" in text
    assert "countries    15; most in country 0 2,000, country 1 1,999, " in text
    assert "country 9 1,991, 5 more, unknown 7\n" in text


def test_no_index_is_an_error(tmp_path):
    with pytest.raises(IndexNotFoundError, match="geoindex build"):
        inspect_index(tmp_path / "none")


def test_inspection_writes_nothing(index_folder):
    before = snapshot(index_folder)
    inspect_index(index_folder)
    assert snapshot(index_folder) == before
