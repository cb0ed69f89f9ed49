"""An index on object storage: published, opened, asked, verified, fetched."""

import json
import pickle
import shutil

import pytest
from tiles import KEYS, PHOTOS, points

import geoindex
from geoindex.errors import IndexNotFoundError, StorageError
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder
from geoindex.transfer import clone_index
from geoindex.updates.removing import remove_images


def answers(place, encoder):
    return points(geoindex.open_index(place, encoder=encoder), PHOTOS)


def test_it_answers_like_the_folder_and_is_fetched_once(published, built, tiny_encoder, service):
    opened = geoindex.open_index(published, encoder=tiny_encoder)
    assert points(opened, PHOTOS) == answers(built.path, tiny_encoder)
    assert verify_index(opened.path, full=True).faults == ()
    service.forget()
    assert answers(published, tiny_encoder) == points(opened, PHOTOS)
    assert dict(service.requests) == {"GET": 1}


def test_it_is_sound(published):
    for full, looked in ((False, "sizes; --full reads every byte"), (True, "every byte read")):
        found = verify_index(published, full=full)
        assert found.to_text() == f"{published}: generation 000001 is sound ({looked})"
        assert found.to_dict()["path"] == published


def test_a_build_is_published_and_goes_on_from_what_answers(world, url, objects):
    report = geoindex.build_index(world, out=url, **KEYS)
    assert (report.path, report.generation) == (url, "000001")
    first = set(objects())
    assert geoindex.build_index(world, out=report.path, **KEYS).generation == "000002"
    assert first < set(objects())
    assert geoindex.open_index(url).manifest.parent == "000001"
    assert geoindex.rebuild_index(url, geocells={"n_cells": 4}).to_text().startswith(f"{url}: generation 000003, ")
    assert geoindex.open_index(url).manifest.counts["cells"] == 4


def test_a_build_on_another_machine_goes_on_too(world, url, tmp_path, monkeypatch):
    geoindex.build_index(world, out=url, **KEYS)
    gone = geoindex.open_index(url).searcher.sidecar.gallery.ids()[0]
    clone_index(url, tmp_path / "local")
    remove_images(tmp_path / "local", [gone])
    clone_index(tmp_path / "local", url)
    monkeypatch.setenv("GEOINDEX_CACHE", str(tmp_path / "other machine"))
    report = geoindex.build_index(world, out=url, **KEYS)
    assert report.generation == "000003"
    assert geoindex.open_index(url).manifest.parent == "000002"
    assert "removed" in json.dumps(report.left_out)
    assert gone not in geoindex.open_index(url).searcher.sidecar.gallery.ids()


def test_an_open_index_moves_on(published, index_folder, tiny_encoder):
    opened = geoindex.open_index(published, encoder=tiny_encoder)
    before = opened.path
    assert not opened.reload()
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    clone_index(index_folder, published)
    assert opened.reload()
    assert (opened.manifest.generation, opened.manifest.counts["cells"]) == ("000002", 4)
    assert opened.path != before
    assert points(opened, PHOTOS) == answers(index_folder, tiny_encoder)


def test_an_open_index_travels_as_its_url(published):
    copy = pickle.loads(pickle.dumps(geoindex.open_index(published)))
    assert copy.manifest.generation == "000001"
    assert copy.reload() is False


def test_one_question_asks_for_the_generation(published, index_folder):
    assert geoindex.query_image(PHOTOS[0], index=published).generation == "000001"
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    clone_index(index_folder, published)
    assert geoindex.query_image(PHOTOS[0], index=published).generation == "000002"


def test_what_is_cloned_stands_on_its_own(published, built, tmp_path, tiny_encoder, bucket, objects):
    made = clone_index(published, tmp_path / "index")
    assert (made.path, made.generation) == (tmp_path / "index", "000001")
    bucket.delete(list(objects()))
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert verify_index(made.path, full=True).faults == ()
    assert answers(made.path, tiny_encoder) == answers(built.path, tiny_encoder)
    assert geoindex.rebuild_index(made.path).generation == "000002"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["index"]
    with pytest.raises(StorageError, match="is there already"):
        clone_index(built.path, made.path)


def test_an_older_generation_is_cloned_by_its_name(published, index_folder, tmp_path):
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    clone_index(index_folder, published)
    assert clone_index(published, tmp_path / "new").generation == "000002"
    assert clone_index(published, tmp_path / "old", "000001").generation == "000001"
    assert IndexFolder(tmp_path / "old").names() == ["000001"]
    there = r"no one generation '000009'; there are: 000001-\w{12}, 000002-\w{12}\.$"
    with pytest.raises(IndexNotFoundError, match=there):
        clone_index(published, tmp_path / "none", "000009")


def test_an_earlier_generation_answers_again(published, index_folder):
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    clone_index(index_folder, published)
    clone_index(index_folder, published, "000001")
    assert geoindex.open_index(published).manifest.generation == "000001"


@pytest.mark.parametrize("prefix", ["", "with space", "größe 北京", "per%cent #1?"])
def test_any_prefix(service, bucket, built, tiny_encoder, prefix):
    url = f"s3://{bucket.config['bucket']}/{prefix}".rstrip("/")
    clone_index(built.path, url)
    assert answers(url, tiny_encoder) == answers(built.path, tiny_encoder)
    assert verify_index(url, full=True).faults == ()


def test_the_commands(world, url, tmp_path, photo, run):
    code, out, _ = run("build", world, "--out", url, "--encoder", KEYS["encoder"], "--encoding.device", "cpu")
    assert (code, out.startswith(f"{url}: generation 000001, ")) == (0, True)
    code, out, _ = run("query", photo, "--index", url, "--format", "json")
    assert (code, json.loads(out)[0]["generation"]) == (0, "000001")
    code, out, _ = run("eval", url)
    assert code == 0
    code, out, _ = run("info", url)
    assert (code, f"{url}, generation 000001" in out) == (0, True)
    code, out, _ = run("bench", url, "--queries", 3, "--format", "json")
    assert (code, json.loads(out)["index"]) == (0, url)
    code, out, _ = run("verify", url, "--full", "--format", "json")
    assert (code, json.loads(out)["sound"], json.loads(out)["path"]) == (0, True, url)
    code, out, _ = run("clone", url, tmp_path / "down")
    assert (code, out.startswith(f"{tmp_path / 'down'}: generation 000001, ")) == (0, True)
    code, out, _ = run("rebuild", tmp_path / "down")
    code, out, _ = run("clone", tmp_path / "down", url)
    assert (code, out.startswith(f"{url}: generation 000002, ")) == (0, True)
    assert run("rebuild", url)[:2][1].startswith(f"{url}: generation 000003, ")
    code, out, _ = run("build", world, "--out", url, "--dry-run")
    assert (code, f"{url}; nothing was written" in out) == (0, True)
