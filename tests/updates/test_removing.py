"""Photos that leave an index for good."""

import io
import json

import numpy as np
import pytest
from planted import answers, ids, named, planted_index, queries, source, table

import geoindex
from geoindex.errors import ConfigError, EmptyDatasetError, IndexDamagedError, StorageError
from geoindex.integrity import verify_index
from geoindex.repair import repair_index
from geoindex.store.generations import IndexFolder
from geoindex.store.history import list_generations
from geoindex.store.tombstones import TOMBSTONES_NAME, Tombstones
from geoindex.updates.adding import add_images
from geoindex.updates.compaction import compact_index
from geoindex.updates.removing import remove_images
from geoindex.updates.rollback import roll_back


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An index of 500 planted photos; nobody writes to it."""
    return planted_index(tmp_path_factory.mktemp("base") / "index", 500, geocells={"n_cells": 8})


def removed_from(path):
    return Tombstones.read(path / TOMBSTONES_NAME).ids


class TestRemoval:
    """Removed photos are gone from answers, and stay so."""

    def test_no_answer_names_them(self, path):
        asked = queries(path)
        opened = geoindex.open_index(path)
        assert set(ids(0, 50)) <= named(opened, asked)
        report = opened.remove(ids(0, 50))
        assert (report.removed, report.images, report.unknown, report.generation) == (50, 450, (), "000002")
        assert named(opened, asked) == set(ids(50, 500))
        every = opened.query_embeddings(asked[:1], top_k=9999, top_cells=9999)[0].candidates
        assert sum(candidate.n_images for candidate in every) == 450
        assert verify_index(path, full=True).faults == ()

    def test_other_readers_lose_them_at_their_next_query(self, path):
        asked = queries(path)
        reader = geoindex.open_index(path)
        remove_images(path, ids(0, 50))
        assert named(reader, asked) == set(ids(50, 500))
        # a reader that does not follow stays with its generation otherwise
        assert reader.manifest.generation == "000001"

    def test_a_killed_removal_has_hidden_them_already(self, path, monkeypatch):
        asked = queries(path)

        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("geoindex.updates.removing.succeed", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_images(path, ids(0, 50))
        monkeypatch.undo()
        opened = geoindex.open_index(path)
        assert opened.manifest.generation == "000001"
        assert named(opened, asked) == set(ids(50, 500))
        # whatever is done next takes them out of sums and centroids as well
        add_images(path, source(501))
        assert geoindex.open_index(path).manifest.counts["gallery"] == 451
        assert verify_index(path, full=True).faults == ()

    def test_a_cluster_or_cell_without_photos_is_no_answer(self, path):
        opened = geoindex.open_index(path)
        clusters, gallery = opened.searcher.sidecar.clusters, opened.searcher.sidecar.gallery
        cell = int(np.argmin(opened.searcher.geography.cell_images))
        inside = np.flatnonzero(clusters["cell"].to_numpy() == cell)
        gone = [fact["id"] for cluster in inside for fact in gallery.facts(gallery.members(int(cluster)))]
        asked = gallery.vectors(gallery.members(int(inside[0]))).astype(np.float32)
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        before = opened.query_embeddings(asked[:1], top_k=9999, top_cells=9999)[0]
        assert cell in {candidate.cell for candidate in before.candidates}
        for rule in ("nearest", "posterior", "distance", "score"):
            reader = geoindex.open_index(path)
            opened.remove(gone)
            for index in (reader, opened):
                answer = index.query_embeddings(asked[:1], rule=rule, top_k=9999, top_cells=9999)[0]
                assert cell not in {candidate.cell for candidate in answer.candidates}
                assert sum(candidate.probability for candidate in answer.candidates) == pytest.approx(1.0)
                nearest = min(answer.candidates, key=lambda c: abs(c.lat - answer.lat) + abs(c.lon - answer.lon))
                assert rule != "nearest" or (nearest.lat, nearest.lon) == (answer.lat, answer.lon)
        assert verify_index(path, full=True).faults == ()
        counts = table(path, "clusters")["n_images"].to_numpy()
        assert (counts[inside] == 0).all()

    def test_rollback_does_not_bring_them_back(self, path):
        asked = queries(path)
        add_images(path, source(520))
        remove_images(path, ids(0, 50))
        assert roll_back(path, "000001").manifest.generation == "000004"
        opened = geoindex.open_index(path)
        assert named(opened, asked) == set(ids(50, 500))
        assert opened.manifest.parent == "000001"
        assert verify_index(path, full=True).faults == ()
        # without any removal since it is the generation itself
        assert roll_back(path, "000003").manifest.generation == "000003"

    def test_a_rebuild_does_not_bring_them_back(self, path):
        remove_images(path, ids(0, 50))
        report = geoindex.rebuild_index(path, geocells={"n_cells": 5})
        assert (report.counts["gallery"], report.counts["removed"]) == (450, 50)
        assert named(geoindex.open_index(path), queries(path)) == set(ids(50, 500))
        assert verify_index(path, full=True).faults == ()

    def test_they_travel_as_removed(self, path, tmp_path):
        remove_images(path, ids(0, 50))
        clone = tmp_path / "clone"
        geoindex.clone_index(path, clone, "000001")
        opened = geoindex.open_index(clone)
        assert named(opened, queries(path)) == set(ids(50, 500))
        assert removed_from(clone) == set(ids(0, 50))

    def test_conditions(self, path):
        stored = table(path, "images").to_pylist()
        country = stored[0]["country"]
        wanted = {row["id"] for row in stored if row["country"] == country}
        report = remove_images(path, where=f"country = '{country}'")
        assert report.removed == len(wanted) > 1
        assert removed_from(path) == wanted
        with pytest.raises(ConfigError, match=r"condition 'color = 3' is not valid .* columns are row, id"):
            remove_images(path, where="color = 3")

    def test_ids_that_no_photo_has(self, path, run, monkeypatch):
        code, out, _ = run("remove", path, "planted-3", "nobody")
        assert code == 3
        assert "removed 1; generation 000002" in out
        assert "1 ids are in no photo (such as nobody)" in out
        assert removed_from(path) == {"planted-3"}
        (path.parent / "ids.txt").write_text("planted-4\n\nplanted-5\n")
        code, out, _ = run("remove", path, "--ids-from", path.parent / "ids.txt", "--format", "json")
        assert (code, json.loads(out)["removed"]) == (0, 2)
        monkeypatch.setattr("sys.stdin", io.StringIO("planted-6\n"))
        code, out, _ = run("remove", path, "--ids-from", "-", "--format", "json")
        assert (code, json.loads(out)["removed"]) == (0, 1)
        assert run("remove", path)[0] == 2
        assert run("remove", path, "--ids-from", path.parent / "none.txt")[0] == 1

    def test_again_is_nothing_new(self, path):
        remove_images(path, ids(0, 5))
        again = remove_images(path, ids(0, 5))
        assert (again.removed, again.generation, again.unknown) == (0, "000002", ())

    def test_the_last_photo_stays(self, path):
        with pytest.raises(EmptyDatasetError, match="would leave no photo"):
            remove_images(path, ids(0, 500))
        assert removed_from(path) == set()
        assert remove_images(path, ids(0, 499)).images == 1
        left = table(path, "images").to_pylist()[499]
        answer = geoindex.open_index(path).query_embeddings(queries(path)[:1])[0]
        assert (answer.lat, answer.lon) == pytest.approx((left["lat"], left["lon"]), abs=1e-6)
        assert [evidence.id for evidence in answer.evidence] == ["planted-499"]
        assert verify_index(path, full=True).faults == ()

    def test_held_out_photos_leave_as_well(self, tmp_path):
        path = planted_index(tmp_path / "index", 400, split_by="ratio")
        stored = table(path, "images").to_pylist()
        held = [row["id"] for row in stored if row["split"] == "test"]
        before = IndexFolder(path).current().manifest.counts
        remove_images(path, held[:3])
        after = IndexFolder(path).current().manifest.counts
        assert (after["test"], after["gallery"], after["images"]) == (
            before["test"] - 3, before["gallery"], before["images"] - 3,
        )  # fmt: skip
        assert geoindex.evaluate(path).count == len(held) - 3
        assert verify_index(path, full=True).faults == ()

    def test_a_full_disk_before_the_list_removes_nothing(self, path, monkeypatch):
        def full(*_):
            raise StorageError("The disk is full.")

        monkeypatch.setattr("geoindex.store.tombstones.write_durably", full)
        with pytest.raises(StorageError):
            remove_images(path, ids(0, 5))
        assert removed_from(path) == set()
        assert len(list_generations(path).generations) == 1


class TestDamagedList:
    """The list of removed photos is in every generation as well."""

    @pytest.mark.parametrize("data", [None, b"", b"{}", b"[1, 2]"])
    def test_repair_writes_it_again(self, path, data):
        asked = queries(path)
        remove_images(path, ids(0, 50))
        file = path / TOMBSTONES_NAME
        file.unlink()
        if data is not None:
            file.write_bytes(data)
            with pytest.raises(IndexDamagedError, match="geoindex repair"):
                geoindex.open_index(path)
            assert any(TOMBSTONES_NAME in fault for fault in verify_index(path).faults)
        else:
            assert named(geoindex.open_index(path), asked) == set(ids(50, 500))
        repair_index(path)
        assert named(geoindex.open_index(path), asked) == set(ids(50, 500))
        assert removed_from(path) == set(ids(0, 50))
        assert verify_index(path, full=True).faults == ()

    def test_an_older_list_brings_nobody_back(self, path):
        remove_images(path, ids(0, 5))
        older = (path / TOMBSTONES_NAME).read_bytes()
        remove_images(path, ids(5, 50))
        (path / TOMBSTONES_NAME).write_bytes(older)
        assert named(geoindex.open_index(path), queries(path)) == set(ids(50, 500))
        geoindex.rebuild_index(path)
        assert IndexFolder(path).current().manifest.counts["gallery"] == 450


class TestCompaction:
    """What was removed is on the disk no more."""

    def test_nothing_of_them_is_left_in_any_file(self, path):
        asked = queries(path)
        add_images(path, source(540))
        geoindex.rebuild_index(path, geocells={"n_cells": 5})
        add_images(path, source(560))
        marks = [b"planted-77", b"planted-530"]
        remove_images(path, [mark.decode() for mark in marks])
        before = answers(geoindex.open_index(path), asked)
        assert all(holding(path, mark) for mark in marks)
        report = compact_index(path)
        assert report.renewed == {f"{n:06d}": f"{n + 5:06d}" for n in range(1, 6)}
        assert report.purged == 2
        assert [holding(path, mark) for mark in marks] == [[], []]
        assert answers(geoindex.open_index(path), asked) == before
        history = list_generations(path).generations
        assert [(g.name, g.parent) for g in history] == [
            ("000006", ""), ("000007", "000006"), ("000008", "000007"), ("000009", "000008"), ("000010", "000009"),
        ]  # fmt: skip
        for generation in history:
            roll_back(path, generation.name)
            assert verify_index(path, full=True).faults == ()
            assert {"planted-77", "planted-530"}.isdisjoint(named(geoindex.open_index(path), asked))
        assert compact_index(path).renewed == {}

    def test_it_merges_what_was_added(self, path):
        asked = queries(path)
        add_images(path, source(540))
        before = answers(geoindex.open_index(path), asked)
        report = compact_index(path)
        assert "wrote 000001 as 000003, 000002 as 000004" in report.to_text()
        files = IndexFolder(path).current().manifest.files
        assert "added.npy" not in files
        assert answers(geoindex.open_index(path), asked) == before
        assert add_images(path, source(541)).images == 541
        assert verify_index(path, full=True).faults == ()

    def test_no_parent_is_lost_after_a_rollback(self, path):
        add_images(path, source(510))
        geoindex.rebuild_index(path, geocells={"n_cells": 5})
        roll_back(path, "000002")
        report = compact_index(path)
        assert (report.generation, report.renewed["000003"]) == ("000005", "000006")
        found = list_generations(path).generations
        assert [(g.name, g.parent, g.live) for g in found] == [
            ("000004", "", False), ("000005", "000004", True), ("000006", "000005", False),
        ]  # fmt: skip
        roll_back(path, "000006")
        assert roll_back(path).manifest.generation == "000005"

    def test_a_killed_one_is_done_again(self, path, monkeypatch):
        asked = queries(path)
        add_images(path, source(540))
        remove_images(path, ids(0, 50))
        before = answers(geoindex.open_index(path), asked)

        def killed(*_):
            raise KeyboardInterrupt

        for place in ("purge_images", "remove_generation", "clean_tables"):
            with monkeypatch.context() as patch:
                patch.setattr(f"geoindex.updates.compaction.{place}", killed)
                with pytest.raises(KeyboardInterrupt):
                    compact_index(path)
            assert answers(geoindex.open_index(path), asked) == before
            assert verify_index(path, full=True).faults == ()
        compact_index(path)
        assert answers(geoindex.open_index(path), asked) == before
        assert holding(path, b"planted-33\x00") == []

    def test_through_the_command(self, path, run):
        remove_images(path, ids(0, 50))
        code, out, _ = run("compact", path)
        assert code == 0
        assert "50 rows of removed photos are gone" in out
        code, out, _ = run("compact", path)
        assert "nothing to compact; generation 000004 answers" in out


def holding(path, mark):
    """Return the files that hold some bytes, but for the lists of what was removed."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name != TOMBSTONES_NAME)
    return [file for file in files if mark in file.read_bytes()]
