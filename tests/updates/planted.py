"""Indexes of planted embeddings, and what they answer."""

import numpy as np
import pytest

import geoindex
from geoindex.store.generations import IndexFolder
from geoindex.store.schemas import vectors_from_arrow

DIM = 16
COLUMNS = {"cells": "cell", "clusters": "cluster"}


def source(count):
    return f"planted:{count}?dim={DIM}&seed=5"


def planted_index(path, count=600, **keys):
    """Build an index of prototypes without splits; return its folder."""
    keys = {"training": {"method": "none"}, "split_by": "none"} | keys
    return geoindex.build_index(source(count), out=path, **keys).path


def ids(first, last):
    return [f"planted-{number}" for number in range(first, last)]


def table(path, name):
    """Return a table of the live generation, ordered."""
    folder = IndexFolder(path)
    version = folder.current().manifest.tables[name]
    columns = folder.tables.columns(name, version)
    key = COLUMNS.get(name, "row")
    return folder.tables.read(name, version, [key, *(column for column in columns if column != key)])


def vectors(column):
    return vectors_from_arrow(column.combine_chunks())


def queries(path, count=40):
    """Return embeddings of stored images as queries."""
    found = geoindex.open_index(path).searcher.sidecar.gallery.live_embeddings()[:: 600 // count].astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def answers(index, embeddings):
    """Return what an index answers, without what differs between generations."""
    found = index.query_embeddings(embeddings, evidence=8)
    return [(a.lat, a.lon, a.place, a.rule, a.radius_km, a.candidates, a.evidence) for a in found]


def named(index, embeddings):
    """Return every id that answers name, if they name all that they may."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoindex.search.searcher.EVIDENCE_CLUSTERS", 10_000)
        found = index.query_embeddings(embeddings[:2], evidence=10_000, top_cells=10_000)
    return {evidence.id for answer in found for evidence in answer.evidence}
