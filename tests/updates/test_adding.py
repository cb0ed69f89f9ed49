"""Photos that join an index between rebuilds."""

import numpy as np
import pytest
from planted import DIM, answers, ids, planted_index, queries, source, table, vectors
from tiles import HUBS, KEYS, error_km, save_tile, snapshot, tile, write_table, write_world

import geoindex
from geoindex.assembly import steps
from geoindex.assembly.division import Division
from geoindex.assembly.sites import stored_sites
from geoindex.errors import EmptyDatasetError, IndexNotFoundError, ModelMismatchError
from geoindex.geocells.fitting import FittedPartition
from geoindex.integrity import verify_index
from geoindex.recipe_files import recipe_from_dict
from geoindex.store.generations import IndexFolder
from geoindex.store.tombstones import REMOVED
from geoindex.updates.adding import COPY, KNOWN, TAKEN, add_images
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back

GROUPS = ["lat", "lon", "n_images", "radius_km", "radius95_km", "spread_km", "place"]


def rebuild_with_the_same_sites(path, monkeypatch):
    """Make a generation from all stored images around the sites of the live one, as a build would."""
    folder = IndexFolder(path)
    partition, clusters = stored_sites(folder, folder.current())

    def divide(images, recipe, mapped=None):
        rows = images.rows("train")
        labels = steps_labels(images, recipe)
        cell = partition.assign(images.lat[rows], images.lon[rows], labels)
        cluster = clusters.assign(images.lat[rows], images.lon[rows], cell)
        order = np.argsort(cluster, kind="stable")
        return Division(FittedPartition(partition, [], {}), clusters, rows[order], cluster[order], None)

    def steps_labels(images, recipe):
        within = recipe.geocells.within
        return [images.label(within)[row] for row in images.rows("train")] if within else None

    with monkeypatch.context() as patch:
        patch.setattr(steps, "divide", divide)
        geoindex.rebuild_index(path)


def assert_same_groups(path, before):
    """Compare cells and clusters with those of an earlier look, bit for bit."""
    for name, rows in before.items():
        after = table(path, name)
        assert after.select(GROUPS).equals(rows.select(GROUPS)), name
        for column in ("embedding", "embedding_sum"):
            np.testing.assert_array_equal(vectors(after[column]), vectors(rows[column]))


def groups(path):
    return {name: table(path, name) for name in ("cells", "clusters")}


@pytest.mark.parametrize(
    "keys",
    [{}, {"clusters": {"levels": 2}}, {"geocells": {"method": "quadtree"}}, {"geocells": {"within": "country"}}],
    ids=["plain", "two levels", "quadtree", "within country"],
)
def test_it_is_the_index_that_is_built_of_all_around_the_same_sites(tmp_path, monkeypatch, keys):
    path = planted_index(tmp_path / "index", 500, **keys)
    assert add_images(path, source(560)).added == 60
    assert add_images(path, source(600)).added == 40
    asked = queries(path)
    added, found = groups(path), answers(geoindex.open_index(path), asked)
    assert verify_index(path, full=True).faults == ()
    rebuild_with_the_same_sites(path, monkeypatch)
    assert_same_groups(path, added)
    fitted = geoindex.open_index(path).manifest
    assert fitted.counts["gallery"] == 600
    again = answers(geoindex.open_index(path), asked)
    for one, other in zip(found, again, strict=True):
        # the same points; evidence that is equally near may come in another order
        assert one[:6] == other[:6]


def spare(path, count):
    """Return ids of images, each of another cluster that has more."""
    gallery = geoindex.open_index(path).searcher.sidecar.gallery
    crowds = [gallery.members(cluster) for cluster in range(table(path, "clusters").num_rows)]
    last = [members[-1] for members in crowds if len(members) > 2]
    return [fact["id"] for fact in gallery.facts(np.array(last[:count]))]


def test_the_sums_are_exact_after_much_coming_and_going(tmp_path, monkeypatch):
    path = planted_index(tmp_path / "index", 500, geocells={"n_cells": 6})
    add_images(path, source(600))
    assert remove_images(path, spare(path, 30)).removed == 30
    add_images(path, source(640))
    assert remove_images(path, spare(path, 20)).removed == 20
    changed = groups(path)
    rebuild_with_the_same_sites(path, monkeypatch)
    assert_same_groups(path, changed)
    assert sum(changed["cells"]["n_images"].to_pylist()) == 590


def test_old_files_are_shared_and_old_generations_stay(tmp_path):
    path = planted_index(tmp_path / "index", 500)
    asked = queries(path)
    before = answers(geoindex.open_index(path), asked)
    base = path / "generations" / "000001" / "gallery.npy"
    added = add_images(path, source(520))
    assert (added.generation, added.images) == ("000002", 520)
    assert (path / "generations" / "000002" / "gallery.npy").samefile(base)
    assert len(np.load(path / "generations" / "000002" / "added.npy")) == 20
    roll_back(path)
    assert answers(geoindex.open_index(path), asked) == before
    # from the generation that is live, not from the newest version of the table
    assert add_images(path, source(501)).images == 501
    assert table(path, "images")["id"].to_pylist() == ids(0, 501)
    assert verify_index(path, full=True).faults == ()


def test_what_is_there_already_is_left_out(tmp_path):
    path = planted_index(tmp_path / "index", 500)
    added = add_images(path, source(500))
    assert (added.added, added.generation, added.failed) == (0, "000001", 0)
    assert added.left_out[KNOWN]["count"] == 500
    remove_images(path, ids(3, 5))
    again = add_images(path, source(500))
    assert (again.added, again.left_out[REMOVED]["count"], again.left_out[KNOWN]["count"]) == (0, 2, 498)


def test_a_removed_photo_does_not_come_back_by_building(tmp_path):
    path = planted_index(tmp_path / "index", 500)
    remove_images(path, ids(0, 10))
    report = geoindex.build_index(source(500), out=path, split_by="none")
    assert report.counts["gallery"] == 490
    assert report.left_out[REMOVED] == {
        "count": 10, "examples": ids(0, 5), "broken": False,
    }  # fmt: skip
    remove_images(path, ids(10, 499))
    with pytest.raises(EmptyDatasetError, match="build into another folder"):
        geoindex.build_index("planted:10?dim=16&seed=5", out=path)


class TestPhotos:
    """Files of photos, which are told apart by their bytes as well."""

    @pytest.fixture
    def more(self, tmp_path):
        """A table of photos of which one is new, one a copy, one the same file again, and one a namesake."""
        folder = tmp_path / "more"
        save_tile(folder / "new.jpg", -10.0, -60.0)
        save_tile(folder / "twin.jpg", -10.0, -60.0)
        save_tile(folder / "nl-01.jpg", 10.0, 10.0)
        rows = [("new.jpg", -10.0, -60.0), ("twin.jpg", -10.0, -60.0), ("nl-01.jpg", 10.0, 10.0)]
        return write_table(folder / "metadata.csv", rows, ("image", "latitude", "longitude"))

    def test_copies_and_namesakes(self, index_folder, more, world):
        (more.parent / "copy.jpg").write_bytes((world.parent / "us-03.jpg").read_bytes())
        (more.parent / "nl-00.jpg").write_bytes((world.parent / "nl-00.jpg").read_bytes())
        with more.open("a") as file:
            file.write("copy.jpg,40.0,-100.0\nnl-00.jpg,52.0,5.0\n")
        added = add_images(index_folder, more, device="cpu")
        assert added.added == 1
        counts = {reason: entry["examples"] for reason, entry in added.left_out.items()}
        assert counts == {COPY: ["twin.jpg", "copy.jpg"], KNOWN: ["nl-00.jpg"], TAKEN: ["nl-01.jpg"]}
        assert added.failed == 1
        assert add_images(index_folder, more, prefix="more/", device="cpu").added == 1
        assert "more/nl-01.jpg" in table(index_folder, "images")["id"].to_pylist()

    def test_an_added_photo_answers(self, index_folder, more, tiny_encoder):
        opened = geoindex.open_index(index_folder, encoder=tiny_encoder)
        assert opened.add(more).added == 1
        answer = opened.query_image(tile(-10.0, -60.0), evidence=3)
        assert answer.evidence[0].id == "new.jpg"
        assert answer.generation == "000002"
        assert error_km(opened.query_image(tile(*HUBS["jp"])), HUBS["jp"]) < 500

    def test_labels_travel(self, index_folder, tmp_path):
        save_tile(tmp_path / "a.jpg", 1.0, 1.0)
        rows = [("a.jpg", 1.0, 1.0, "ga", "Kim")]
        add_images(index_folder, write_table(tmp_path / "t.csv", rows, ("image", "lat", "lon", "country", "author")))
        stored = table(index_folder, "images").to_pylist()[-1]
        assert (stored["id"], stored["country"], stored["author"], stored["split"]) == ("a.jpg", "ga", "Kim", "train")
        assert stored["source"] == f"table:{tmp_path / 't.csv'}"
        assert len(stored["content"]) == 32

    def test_unreadable_photos_are_told(self, index_folder, tmp_path, run):
        save_tile(tmp_path / "a.jpg", 1.0, 1.0)
        (tmp_path / "b.jpg").write_bytes(b"no photo")
        metadata = write_table(tmp_path / "t.csv", [("a.jpg", 1, 1), ("b.jpg", 2, 2)], ("image", "lat", "lon"))
        code, out, _ = run("add", index_folder, metadata, "--device", "cpu")
        assert code == 3
        assert "added 1; generation 000002" in out
        assert "left out 1: it is not an image" in out

    def test_a_rebuild_takes_them_in(self, index_folder, more):
        add_images(index_folder, more, device="cpu")
        assert geoindex.rebuild_index(index_folder).counts["gallery"] == 80
        generation = IndexFolder(index_folder).current()
        assert "added.npy" not in generation.manifest.files
        assert generation.manifest.drift is None


def test_drift_says_when_a_rebuild_is_due(tmp_path):
    path = planted_index(tmp_path / "index", 500)
    assert add_images(path, source(590)).rebuild_due == ""
    due = add_images(path, source(640))
    assert due.rebuild_due == "28% of the gallery changed since generation 000001"
    assert "a rebuild is due" in due.to_text()
    geoindex.rebuild_index(path)
    assert IndexFolder(path).current().manifest.drift is None
    assert remove_images(path, ids(0, 10)).removed == 10


def test_what_was_learned_stays(tmp_path):
    path = planted_index(tmp_path / "index", 800, training={"method": "features", "epochs": 2}, split_by="ratio")
    before = groups(path)
    add_images(path, source(900))
    for name, rows in before.items():
        after = table(path, name)
        np.testing.assert_array_equal(vectors(after["embedding"]), vectors(rows["embedding"]))
        assert sum(after["n_images"].to_pylist()) == sum(rows["n_images"].to_pylist()) + 100


def test_features_of_another_encoder_are_refused(tmp_path):
    path = planted_index(tmp_path / "index", 300)
    with pytest.raises(ModelMismatchError, match="are not of the encoder"):
        add_images(path, f"planted:10?dim={DIM}&seed=6")
    folder = tmp_path / "world"
    with pytest.raises(ModelMismatchError, match="built from ready embeddings"):
        add_images(path, write_world(folder, [("a.jpg", 1.0, 2.0, "x", "y")]))


def test_a_wrong_path_leaves_nothing(tmp_path):
    with pytest.raises(IndexNotFoundError):
        add_images(tmp_path / "none", source(10))
    assert not (tmp_path / "none").exists()


def test_an_older_table_gets_the_columns_that_it_lacks(tmp_path, monkeypatch):
    from geoindex.types import LABELS

    with monkeypatch.context() as patch:
        patch.setattr("geoindex.store.schemas.LABELS", LABELS[:5])
        path = planted_index(tmp_path / "index", 300)
    assert "climate" not in table(path, "images").column_names
    assert add_images(path, source(310)).added == 10
    assert table(path, "images")["climate"].to_pylist() == [None] * 310
    assert verify_index(path, full=True).faults == ()


def test_recipes_are_kept(tmp_path):
    path = planted_index(tmp_path / "index", 300)
    before = IndexFolder(path).current().manifest
    add_images(path, source(310))
    after = IndexFolder(path).current().manifest
    assert recipe_from_dict(after.recipe) == recipe_from_dict(before.recipe)
    assert (after.posterior, after.rule, after.parent) == (before.posterior, before.rule, "000001")
    assert KEYS["encoder"] != after.encoder["spec"]


@pytest.mark.parametrize("work", ["add", "remove", "compact"])
def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch, run, work):
    path = planted_index(tmp_path / "index", 300)
    remove_images(path, ids(0, 2))
    before = snapshot(path / "generations")
    monkeypatch.setattr("geoindex.store.space.free_bytes", lambda path: 10_000)
    arguments = {"add": [source(320)], "remove": ["planted-7"], "compact": []}[work]
    code, _, err = run(work, path, *arguments)
    assert code == 1
    assert "has 10.0 kB free" in err
    assert "old generations with 'geoindex gc'" in err
    monkeypatch.undo()
    assert snapshot(path / "generations") == before
    # what is removed stays removed, whether there was room for the next generation or not
    assert ("planted-7" in (path / "removed.json").read_text()) == (work == "remove")
    assert run(work, path, *arguments)[0] == 0
    assert verify_index(path, full=True).faults == ()


def test_info_says_what_changed(tmp_path, run):
    path = planted_index(tmp_path / "index", 300)
    assert "changed      nothing since its cells were made" in run("info", path)[1]
    add_images(path, source(400))
    shown = run("info", path)[1]
    assert "100 added and 0 removed since generation 000001; a rebuild is due: 33% of the gallery changed" in shown
