"""Every image of a gallery in its own cluster, and every embedding a unit vector."""

from dataclasses import replace

import numpy as np
import pytest

import geoindex
from geoindex.assembly import membership
from geoindex.assembly.membership import membership_faults
from geoindex.integrity import verify_index
from geoindex.store.gallery import Gallery
from geoindex.store.generations import IndexFolder
from geoindex.updates.adding import add_images
from geoindex.updates.removing import remove_images

KEYS = {"training": {"method": "none"}, "split_by": "none"}


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"clusters": {"levels": 2}}, {"geocells": {"within": "country"}},
        {"geocells": {"method": "quadtree"}}, {"geocells": {"method": "balanced", "within": "country"}},
    ],
    ids=["plain", "two levels", "within country", "quadtree", "balanced within"],
)  # fmt: skip
def test_a_sound_index_of_any_kind(tmp_path, keys):
    path = geoindex.build_index("planted:400?dim=8", out=tmp_path / "index", **KEYS, **keys).path
    add_images(path, "planted:450?dim=8")
    remove_images(path, ["planted-3", "planted-420"])
    index = IndexFolder(path)
    assert membership_faults(index, index.current()) == []


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = geoindex.build_index("planted:300?dim=8", out=tmp_path_factory.mktemp("one") / "index", **KEYS).path
    return IndexFolder(path)


def faults_with(index, monkeypatch, column=None, vectors=None):
    """Return the faults of a gallery with another column or other embeddings."""

    class Other(Gallery):
        def column(self, name):
            return column(name, super().column(name)) if column else super().column(name)

        def vectors(self, rows):
            return vectors(super().vectors(rows)) if vectors else super().vectors(rows)

    def opened(generation):
        sidecar = open_sidecar(generation)
        return replace(sidecar, gallery=Other(sidecar.gallery.segments, sidecar.gallery.dead))

    open_sidecar = membership.open_sidecar
    monkeypatch.setattr(membership, "open_sidecar", opened)
    return verify_index(index.root, full=True).faults


def test_an_image_in_another_cluster(index, monkeypatch):
    def swapped(name, values):
        return np.where(np.arange(len(values)) == 0, values[-1], values) if name == "lat" else values

    assert faults_with(index, monkeypatch, swapped) == (
        "1 images of the gallery lie in another cluster than their own.",
    )


def test_a_count_that_is_not_so(index, monkeypatch):
    def moved(name, values):
        return np.where(np.arange(len(values)) == 0, values[-1], values) if name == "cluster" else values

    found = faults_with(index, monkeypatch, moved)
    assert [fault.split(" do not")[0] for fault in found[:2]] == ["The clusters", "The cells"]


def test_an_embedding_that_is_no_unit(index, monkeypatch):
    def longer(vectors):
        return np.where(np.arange(len(vectors))[:, None] == 5, 1.2 * vectors, vectors)

    assert faults_with(index, monkeypatch, None, longer) == ("1 embeddings of the gallery are no unit vectors.",)
