import json
from pathlib import Path

import pytest

from geoindex.errors import IndexDamagedError, IndexVersionError
from geoindex.store.manifest import FORMAT_VERSION, FileRecord, Manifest, digest, parse_manifest

PATH = Path("indexes/world/generations/000002/manifest.json")
MANIFEST = Manifest(
    generation="000002", parent="000001", created="2001-02-03T04:05:06+00:00", recipe={"source": "photos"},
    source="photos:/fotos/ünï", encoder={"spec": "timm:x", "fingerprint": "f" * 64}, dim=8,
    counts={"cells": 3}, tables={"images": 1, "cells": 2, "clusters": 2}, posterior={"cell_scale": 20.0},
    rule={"name": "posterior"}, geocells={}, canaries=[{"cluster": 1}], left_out={}, timings_s={"scan": 0.5},
    files={"index.faiss": FileRecord(10, "ab")},
)  # fmt: skip


def without(*keys):
    return {k: v for k, v in json.loads(MANIFEST.to_json()).items() if k not in keys}


def parse(values):
    return parse_manifest(json.dumps(values).encode(), PATH)


def test_a_manifest_survives_its_text():
    data = MANIFEST.to_json()
    assert parse_manifest(data, PATH) == MANIFEST
    assert parse_manifest(data, PATH).to_json() == data
    assert "ünï" in data.decode()


def test_the_digest_tells_any_change():
    data = MANIFEST.to_json()
    assert len(digest(data)) == 64
    assert digest(data) == digest(bytes(data))
    assert digest(data) != digest(data.replace(b"000001", b"000000"))


def test_a_file_record_measures(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert FileRecord.of(path) == FileRecord(3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99, 0, "1.5"])
def test_another_format_is_told_apart_from_damage(version):
    # a later format may hold anything else
    with pytest.raises(IndexVersionError) as caught:
        parse({"format_version": version, "other": {}})
    sentence = str(caught.value)
    assert str(PATH.parent) in sentence
    assert f"has format {version}, this geoindex reads format {FORMAT_VERSION}" in sentence
    assert "build it again" in sentence


@pytest.mark.parametrize("key", sorted(without("format_version", "calibration", "durability", "drift", "training")))
def test_a_missing_key_is_damage(key):
    with pytest.raises(IndexDamagedError, match=r"manifest\.json' lacks a part; restore it from a copy"):
        parse(without(key))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{", b"[]", b"null", b"3", b'"text"', b"{}"])
def test_what_is_no_manifest_is_damage(data):
    with pytest.raises(IndexDamagedError, match=r"manifest\.json' is not a manifest; restore it"):
        parse_manifest(data, PATH)


@pytest.mark.parametrize("files", [[], None, {"index.faiss": 3}, {"index.faiss": {"bytes": 1}}])
def test_a_list_of_files_that_is_none_is_damage(files):
    with pytest.raises(IndexDamagedError, match="lacks a part"):
        parse(without() | {"files": files})


def test_keys_that_this_code_does_not_know_are_passed_over():
    assert parse(without() | {"colour": "blue"}) == MANIFEST


def test_an_index_that_was_never_calibrated_needs_no_calibration():
    assert parse(without("calibration")).calibration is None
