"""Leaks that were put there are found, and the figures without them are those of the other queries."""

import json
import shutil

import numpy as np
import pytest
from tiles import build, save_tile, world_rows, write_table, write_world

from geoindex.errors import ConfigError
from geoindex.evaluation.leakage import ANY, Limits, find_leaks
from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.queries import Queries, queries_from
from geoindex.geo import haversine_km

HEADER = ("image", "latitude", "longitude", "author", "sequence")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """An index of tiles, each with an author and a sequence of its own hub."""
    folder = tmp_path_factory.mktemp("gallery")
    rows = [(n, lat, lon, f"author-{c}", f"seq-{c}") for n, lat, lon, c, _ in world_rows()]
    write_world(folder, rows)
    write_table(folder / "metadata.csv", rows, HEADER)
    import geoindex

    return geoindex.open_index(build(folder / "metadata.csv", folder / "index", split_by="none").path), folder, rows


@pytest.fixture(scope="module")
def queries(gallery, tmp_path_factory):
    """Queries of which each leaks in one way more than the one before; the first in none."""
    _, world, rows = gallery
    folder = tmp_path_factory.mktemp("queries")
    save_tile(folder / "none.jpg", 10, 100)
    save_tile(folder / "author.jpg", -60, -30)
    save_tile(folder / "sequence.jpg", 75, 0)
    shutil.copy(world / rows[0][0], folder / "file.jpg")
    save_tile(folder / "near.jpg", -45, 60)
    near = (rows[1][1] + 0.001, rows[1][2])
    asked = [
        ("none.jpg", 10, 100, "", ""), ("author.jpg", -60, -30, "author-nl", "other"),
        ("sequence.jpg", 75, 0, "stranger", "seq-jp"), ("file.jpg", 0, 120, "", ""), ("near.jpg", *near, "", ""),
    ]  # fmt: skip
    return write_table(folder / "asked.csv", asked, HEADER)


def test_each_leak_is_found(gallery, queries):
    asked = queries_from(gallery[0], str(queries), {})
    leaks = find_leaks(gallery[0], asked, Limits(near_cosine=1.0 - 1e-4))
    found = {kind: [asked.ids[q] for q in np.flatnonzero(flags)] for kind, (_, flags) in leaks.items()}
    cosine = next(kind for kind in found if kind.startswith("look-alike"))
    assert "file.jpg" in found.pop(cosine)
    assert found == {
        "same id": [], "same author": ["author.jpg"], "same sequence": ["sequence.jpg"], "same file": ["file.jpg"],
        "closer than 1 km": ["near.jpg"], ANY: found[ANY],
    }  # fmt: skip
    assert set(found[ANY]) >= {"author.jpg", "sequence.jpg", "file.jpg", "near.jpg"}
    assert [known for known, _ in leaks.values()] == [5, 2, 2, 5, 5, 5, 5]


def test_metrics_without_leaks_are_those_of_the_others(gallery, queries):
    report = evaluate(gallery[0], source=str(queries), leaks=True)
    by_kind = {leak.kind: leak for leak in report.leaks}
    author = by_kind["same author"]
    assert author.queries == 1
    for row in report.rows:
        leaking, others = author.leaking[row.name], author.without[row.name]
        assert leaking.count * 4 == others.count
        assert leaking.mean_km + 4 * others.mean_km == pytest.approx(5 * row.metrics.mean_km)
    own = author.without[f"geoindex, {report.rule}"]
    assert author.spread.low.mean_km <= own.mean_km <= author.spread.high.mean_km
    assert "same author (1)" in report.to_text()
    assert json.loads(json.dumps(report.to_dict()))["leaks"][1]["kind"] == "same author"


def test_a_gallery_that_asks_itself_leaks_whole(gallery):
    report = evaluate(gallery[0], split="train", leaks=True)
    by_kind = {leak.kind: leak for leak in report.leaks}
    for kind in ("same id", "same file", ANY):
        assert (by_kind[kind].queries, by_kind[kind].without) == (report.count, {})
    assert "shared by all queries: same id" in report.to_text()


def test_what_nobody_knows_is_said(index):
    report = evaluate(index, leaks=True)
    assert "not known of queries or gallery: same sequence" in report.to_text()
    assert evaluate(index).leaks == ()


def test_distance_decides_by_itself(gallery):
    index, _, rows = gallery
    _, lat, lon, *_ = rows[0]
    north = np.array([lat + 0.02, lat + 0.2])
    asked = Queries("made", ["a", "b"], north, np.full(2, lon), np.eye(2, index.manifest.dim, dtype=np.float32))
    positions = index.searcher.sidecar.gallery.positions()
    wanted = [haversine_km(y, lon, *positions).min() < 5.0 for y in north]
    assert find_leaks(index, asked, Limits(near_km=5.0))["closer than 5 km"][1].tolist() == wanted
    assert find_leaks(index, asked, Limits())["same author"][0] == 0


@pytest.mark.parametrize(("options", "words"), [({"leak_km": -1}, "-1 km"), ({"leak_cosine": 2}, "cosine of 2")])
def test_limits_must_be_meant(index, options, words):
    with pytest.raises(ConfigError, match=words):
        evaluate(index, leaks=True, **options)
