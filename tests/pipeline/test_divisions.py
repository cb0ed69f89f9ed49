"""Indexes whose cells are not those of the paper, and clusters inside clusters."""

import shutil

import numpy as np
import pytest
from tiles import HUBS, PHOTOS, build, error_km, points, stored, world_rows, write_table

import geoindex
from geoindex.assembly.division import divide
from geoindex.errors import ConfigError
from geoindex.geo import haversine_km
from geoindex.geocells.clusters import Clusters
from geoindex.geocells.fitting import read_partition
from geoindex.geocells.partition import BorderedPartition
from geoindex.recipe_files import recipe_from_dict
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images

DIVISIONS = {
    "within country": {"within": "country"},
    "quadtree": {"method": "quadtree"},
    "balanced": {"method": "balanced"},
    "balanced within author": {"method": "balanced", "within": "author"},  # authors are not apart from each other
    "grid": {"method": "grid"},
}


@pytest.fixture(scope="module", params=DIVISIONS)
def division(request, world, tmp_path_factory):
    """Keys of the geocells, and the folder of an index that was built with them; nobody writes to it."""
    keys = DIVISIONS[request.param]
    if keys.get("method") == "grid":
        pytest.importorskip("h3")
    return keys, build(world, tmp_path_factory.mktemp("divisions") / "index", geocells=keys).path


def manifest_of(path):
    return IndexFolder(path).current().manifest


def gallery_of(path):
    """Return stored images, rows of the gallery, and the cell of each."""
    images = stored_images(IndexFolder(path), manifest_of(path).tables["images"])
    rows = images.rows("train")
    gallery = geoindex.open_index(path).searcher.sidecar
    cell_of_row = dict(
        zip(
            gallery.gallery.column("row").tolist(),
            gallery.cell_of_cluster[gallery.gallery.column("cluster")].tolist(),
            strict=True,
        )
    )
    return images, rows, [cell_of_row[row] for row in rows.tolist()]


def test_the_manifest_holds_the_rule_of_the_stored_cells(division):
    keys, path = division
    images, rows, stored_cells = gallery_of(path)
    geocells = manifest_of(path).geocells
    assert geocells["method"] == keys.get("method", "optics")
    partition = read_partition(geocells["partition"])
    labels = [images.label(keys.get("within", "country"))[row] for row in rows.tolist()]
    assert partition.assign(images.lat[rows], images.lon[rows], labels).tolist() == stored_cells
    assert isinstance(partition, BorderedPartition) == ("within" in keys)
    np.testing.assert_array_equal(partition.site_lat, stored(path, "cells", "site_lat"))
    np.testing.assert_array_equal(partition.site_lon, stored(path, "cells", "site_lon"))
    assert len(partition) == manifest_of(path).counts["cells"] == geocells["chosen"]["n_cells"]
    assert np.bincount(stored_cells, minlength=len(partition)).tolist() == stored(path, "cells", "n_images").tolist()


def test_no_cell_crosses_a_border(division):
    keys, path = division
    images, rows, stored_cells = gallery_of(path)
    if "within" not in keys:
        return
    label = images.label(keys["within"])
    held = {}
    for row, cell in zip(rows.tolist(), stored_cells, strict=True):
        held.setdefault(cell, set()).add(label[row])
    assert all(len(labels) == 1 for labels in held.values())
    assert set().union(*held.values()) == {label[row] for row in rows.tolist()}


def test_images_that_are_no_gallery_keep_to_the_borders_too(division):
    keys, path = division
    images = gallery_of(path)[0]
    label = np.array(images.label(keys.get("within", "country")))
    found = divide(images, recipe_from_dict({"geocells": keys}))
    rows = np.concatenate([images.rows("val"), images.rows("test")])
    cell = found.cells_of(images, rows)
    assert cell.tolist() == found.partition.assign(images.lat[rows], images.lon[rows], label[rows]).tolist()
    if "within" in keys:
        assert found.partition.label_of_cell[cell].tolist() == label[rows].tolist()


def test_it_answers_and_is_measured(division, tiny_encoder):
    keys, path = division
    far_km = 1000.0 if keys.get("within") != "author" else 20_100.0  # cells of an author lie all over the Earth
    answers = geoindex.open_index(path, encoder=tiny_encoder).query_images(PHOTOS)
    assert max(error_km(answer, hub) for answer, hub in zip(answers, HUBS.values(), strict=True)) < far_km
    report = geoindex.evaluate(geoindex.open_index(path, encoder=tiny_encoder))
    assert report.own.median_km < report.row("random pairing").median_km
    assert report.cells == manifest_of(path).counts["cells"]


def test_a_rebuild_gives_the_same_cells_and_answers(division, tmp_path, tiny_encoder):
    _, path = division
    again = shutil.copytree(path, tmp_path / "index")
    assert geoindex.rebuild_index(again).generation == "000002"
    assert manifest_of(again).geocells == manifest_of(path).geocells
    first, second = (geoindex.open_index(folder, encoder=tiny_encoder) for folder in (path, again))
    assert points(first, PHOTOS) == points(second, PHOTOS)


def test_a_rebuild_can_choose_other_cells(index_folder):
    report = geoindex.rebuild_index(index_folder, geocells={"method": "balanced", "n_cells": 5})
    assert report.counts["cells"] == 5
    assert manifest_of(index_folder).geocells["partition"]["rule"]["rule"] == "bisection"
    geoindex.rebuild_index(index_folder, geocells={"method": "optics"})
    assert "partition" not in manifest_of(index_folder).geocells


def test_borders_of_named_places_serve_a_source_without_labels(world, tmp_path):
    rows = [(world.parent / name, lat, lon) for name, lat, lon, *_ in world_rows()]
    table = write_table(tmp_path / "table.csv", rows, ("image", "latitude", "longitude"))
    path = build(table, tmp_path / "index", geocells={"within": "country"}).path
    labels = set(manifest_of(path).geocells["partition"]["parts"])
    assert {"United States", "Australia", "Brazil", "India"} <= labels
    with pytest.raises(ConfigError, match="within 'author' need that label"):
        build(table, tmp_path / "other", geocells={"within": "author"})


@pytest.fixture(scope="module")
def layered(world, tmp_path_factory):
    """The folder of an index with clusters of three levels; nobody writes to it."""
    clusters = {"levels": 3, "min_clusters": 2, "max_clusters": 2, "images_per_cluster": 1, "min_samples": [2]}
    return build(world, tmp_path_factory.mktemp("levels") / "index", clusters=clusters).path


class TestClustersInsideClusters:
    """The columns of a built index say which clusters lie inside which, and how far they spread."""

    def test_each_is_inside_a_chain_of_its_cell(self, layered):
        clusters = geoindex.open_index(layered).searcher.sidecar.clusters
        inside = np.array(clusters["inside"].to_pylist())
        cell = clusters["cell"].to_numpy()
        assert inside.shape == (len(cell), 2)
        for column, coarser in enumerate((cell, inside[:, 0])):  # each coarser cluster lies in one of the next level
            for number in np.unique(inside[:, column]):
                assert len(set(coarser[inside[:, column] == number])) == 1
        for column in inside.T:  # all of them are there, and in order
            assert sorted(set(column)) == list(range(len(set(column))))
            assert (np.diff(column) >= 0).all()
        assert len(set(cell)) < len(set(inside[:, 0])) < len(set(inside[:, 1])) < len(cell)
        np.testing.assert_array_equal(np.stack(stored(layered, "clusters", "inside")), inside)

    def test_images_lie_in_the_cluster_that_the_chain_leads_to(self, layered):
        sidecar = geoindex.open_index(layered).searcher.sidecar
        lat, lon = sidecar.gallery.positions()
        cluster = sidecar.gallery.column("cluster")
        inside = np.array(sidecar.clusters["inside"].to_pylist())[:, -1]
        sites = sidecar.clusters["site_lat"].to_numpy(), sidecar.clusters["site_lon"].to_numpy()
        # among the clusters of its own coarser one each image is nearest to its own
        found = Clusters(*sites, inside.astype(np.int64)).assign(lat, lon, inside[cluster])
        np.testing.assert_array_equal(found, cluster)

    @pytest.mark.parametrize("table", ["cells", "clusters"])
    def test_spread_is_the_root_of_the_mean_square_distance(self, layered, table):
        sidecar = geoindex.open_index(layered).searcher.sidecar
        gallery, groups = sidecar.gallery, getattr(sidecar, table)
        group = gallery.column("cluster")
        if table == "cells":
            group = sidecar.clusters["cell"].to_numpy()[group]
        lat, lon = gallery.positions()
        spread = groups["spread_km"].to_numpy()
        for number in range(len(groups)):
            members = group == number
            middle = groups["lat"][number].as_py(), groups["lon"][number].as_py()
            off = haversine_km(lat[members], lon[members], *middle)
            assert spread[number] == pytest.approx(np.sqrt(np.mean(off**2)), abs=1e-6)
        assert spread.max() > 1.0
        np.testing.assert_array_equal(spread, stored(layered, table, "spread_km"))

    def test_without_levels_nothing_lies_inside(self, built, index):
        assert index.searcher.sidecar.clusters["inside"].to_pylist() == [[]] * built.counts["clusters"]


def test_cells_from_a_source_that_writes_labels_otherwise_are_refused(index_folder, tmp_path):
    rows = [(image, lat, lon, country.upper(), author) for image, lat, lon, country, author in world_rows()]
    other = write_table(tmp_path / "other.csv", rows)
    with pytest.raises(ConfigError, match="no 'country' in common"):
        geoindex.rebuild_index(index_folder, geocells={"within": "country", "source": str(other)})
