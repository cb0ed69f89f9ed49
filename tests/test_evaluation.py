"""An index beside its floors."""

import json

import numpy as np
import pytest
from tiles import HUBS, KEYS, save_tile, world_rows, write_table, write_world

import geoindex
from geoindex.errors import ConfigError, EmptyDatasetError, ModelMismatchError
from geoindex.evaluation.answers import Answers, ranked
from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.queries import split_queries
from geoindex.evaluation.rivals import ABOUT, best_constant, random_pairing_km
from geoindex.geo import haversine_km
from geoindex.metrics import geoscore
from geoindex.store.generations import IndexFolder
from geoindex.store.images import stored_images


@pytest.fixture(scope="module")
def report(index):
    return evaluate(index)


def gallery(index):
    return index.searcher.sidecar.gallery.positions()


def queries(index, split):
    images = stored_images(IndexFolder(index.path), index.manifest.tables["images"])
    parts = list(images.features(split))
    rows, features = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    return images.lat[rows], images.lon[rows], index.projection.apply(features.astype(np.float32))


def test_rows_are_the_floors_then_rivals_then_every_rule(report, index):
    names = [row.name for row in report.rows]
    assert [name.split(" (")[0] for name in names[:3]] == ["random pairing", "best constant", "1-NN, same embeddings"]
    assert {row.kind for row in report.rows[:3]} == {"floor"}
    assert names[3:9] == list(ABOUT)[3:]
    assert {row.kind for row in report.rows[3:9]} == {"rival"}
    assert names[9:] == [f"geoindex, {rule}" for rule in ("nearest", "posterior", "distance", "score")]
    assert [row.kind for row in report.rows].count("own") == 1
    assert report.own is report.row(f"geoindex, {index.manifest.rule['name']}")
    assert (report.count, report.in_gallery, report.unreadable) == (index.manifest.counts["test"], 0, 0)
    assert report.gallery == index.manifest.counts["gallery"]
    assert report.confidence is None  # too few validation photos


def test_the_index_beats_what_never_looks_at_the_photo(report):
    assert report.own.median_km < 500
    assert report.row("random").median_km > 3000
    assert report.own.geoscore > report.row("best constant").geoscore + 1000


def test_the_nearest_image_is_that_of_brute_force(report, index):
    lat, lon, vectors = queries(index, "test")
    nearest = (vectors @ np.array(index.searcher.sidecar.gallery.live_embeddings(), np.float32).T).argmax(axis=1)
    own_lat, own_lon = gallery(index)
    distance_km = haversine_km(own_lat[nearest], own_lon[nearest], lat, lon)
    assert report.row("1-NN").median_km == pytest.approx(float(np.median(distance_km)))
    assert report.row("1-NN").geoscore == pytest.approx(float(geoscore(distance_km).mean()))


def test_the_best_constant_is_the_best_of_the_gallery(report, index):
    lat, lon = gallery(index)
    means = [geoscore(haversine_km(a, b, lat, lon)).mean() for a, b in zip(lat, lon, strict=True)]
    best = int(np.argmax(means))
    assert best_constant(lat, lon, seed=3) == (lat[best], lon[best])
    test_lat, test_lon, _ = queries(index, "test")
    wanted = geoscore(haversine_km(lat[best], lon[best], test_lat, test_lon)).mean()
    assert report.row("best constant").geoscore == pytest.approx(float(wanted))


def test_random_pairing_draws_from_the_gallery():
    lat, lon = np.array([0.0, 0.0]), np.array([0.0, 90.0])
    distance_km = random_pairing_km(np.zeros(500), np.zeros(500), lat, lon, seed=0)
    values, counts = np.unique(distance_km.round(), return_counts=True)
    assert values.tolist() == [0.0, 10008.0]
    assert counts.min() > 0.45 * counts.sum()


def test_the_rows_are_what_the_index_answers(report, index):
    lat, lon, vectors = queries(index, "test")
    answers = index.query_embeddings(vectors)
    points = np.array([(a.lat, a.lon) for a in answers])
    distance_km = haversine_km(points[:, 0], points[:, 1], lat, lon)
    assert report.own.mean_km == pytest.approx(float(distance_km.mean()))


def test_a_split_of_the_gallery_itself_is_warned_of(index):
    report = evaluate(index, split="train")
    assert report.in_gallery == report.count == index.manifest.counts["gallery"]
    assert "these figures flatter" in report.to_text()


def test_another_source_is_measured(index, tmp_path):
    rows = [(f"new-{name}", *rest) for name, *rest in world_rows(per_hub=2, seed=9)]
    table = write_world(tmp_path, rows)
    (tmp_path / rows[0][0]).write_bytes(b"")
    report = evaluate(index, source=str(table))
    assert (report.count, report.unreadable, report.in_gallery) == (len(rows) - 1, 1, 0)
    assert report.own.median_km < 500
    assert report.queries == f"table:{table}"


def test_columns_of_another_source_can_be_named(index, tmp_path):
    save_tile(tmp_path / "a.jpg", *HUBS["jp"])
    table = write_table(tmp_path / "odd.csv", [("a.jpg", *HUBS["jp"])], ("picture_file", "north", "east"))
    columns = {"image": "picture_file", "lat": "north", "lon": "east"}
    report = evaluate(index, source=str(table), columns=columns)
    assert (report.count, report.own.median_km < 500) == (1, True)


def test_the_report_is_json_and_a_table(report):
    facts = json.loads(json.dumps(report.to_dict()))
    assert facts["schema"] == 1
    assert [row["name"] for row in facts["rows"]] == [row.name for row in report.rows]
    lines = report.to_text().splitlines()
    assert sum(line.startswith("* geoindex") for line in lines) == 1
    assert len({len(line) for line in lines if line.startswith(("  geo", "* geo", "  random", "  1-NN"))}) == 1


def test_every_row_has_an_interval_and_a_balanced_version(report):
    for row in report.rows:
        assert row.spread.low.geoscore <= row.metrics.geoscore <= row.spread.high.geoscore
        assert row.spread.balanced_low.geoscore <= row.spread.balanced_high.geoscore


def test_the_detail_is_that_of_the_own_row(report, index):
    detail = report.detail
    assert sum(part.metrics.count for part in detail.countries) == report.count
    assert sum(part.metrics.count * part.metrics.mean_km for part in detail.continents) == pytest.approx(
        report.count * report.own.mean_km
    )
    assert detail.regions["country"].value > 50
    assert detail.information_bits.value > 1
    assert "South Africa (" in report.parts_text("country")


def test_information_is_that_of_the_probabilities(index):
    asked = split_queries(index, "test")
    rankings = [ranking for _, part in ranked(index, asked) for ranking in part]
    bits = Answers.of(index, asked, 0).bits
    images = index.searcher.geography.cell_images
    cells = np.array([np.exp(r.logits - r.log_total) for r in rankings], float)
    assert cells.sum(axis=1) == pytest.approx(1)
    ratios = np.log2(cells / (images / images.sum()))
    assert np.isclose(ratios, bits[:, None]).any(axis=1).all()


def test_a_convention_changes_the_figures_and_is_said(index, report):
    pigeon = evaluate(index, convention="pigeon")
    assert pigeon.own.mean_km == pytest.approx(report.own.mean_km * 6378.137 / 6371.0088)
    assert pigeon.to_dict()["earth_radius_km"] == 6378.137
    assert "Measured as pigeon does." in pigeon.to_text()
    assert evaluate(index, convention="geoclip").to_dict()["earth_radius_km"] is None


def test_polygons_and_a_table_of_places_can_be_given(index, tmp_path):
    (tmp_path / "c.csv").write_text("lat,lon,name,admin1,admin2,cc\n0,0,Here,Everywhere,,XX\n")
    ring = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "world.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [shape]}))
    detail = evaluate(index, places=tmp_path / "c.csv", polygons=tmp_path / "world.geojson").detail
    assert {level: share.value for level, share in detail.regions.items()} == {
        "country": 100, "region": 100, "city": 100, "polygons of world": 100,
    }  # fmt: skip


def test_the_seed_decides(index):
    assert evaluate(index, seed=1) == evaluate(index, seed=1)
    with pytest.raises(ConfigError, match="Seed -1"):
        evaluate(index, seed=-1)


def test_there_must_be_queries(world, tmp_path):
    built = geoindex.build_index(world, out=tmp_path / "index", split_by="none", **KEYS)
    with pytest.raises(EmptyDatasetError, match=r"no images in its test split; [^\n]+\.$"):
        evaluate(built.path)


def test_a_split_must_be_one(index):
    with pytest.raises(ConfigError, match="No split 'dev'"):
        evaluate(index, split="dev")


def test_an_index_of_embeddings_is_measured(tmp_path):
    built = geoindex.build_index("planted:400?dim=16", out=tmp_path / "planted")
    own = evaluate(built.path)
    other = evaluate(built.path, source="planted:450?dim=16")
    assert (own.count, own.in_gallery) == (built.counts["test"], 0)
    assert (other.count, other.in_gallery) == (450, built.counts["gallery"])
    assert own.encoder == ""


def test_embeddings_of_another_kind_are_refused(tmp_path):
    built = geoindex.build_index("planted:400?dim=16", out=tmp_path / "planted")
    with pytest.raises(ModelMismatchError, match="same options"):
        evaluate(built.path, source="planted:50?dim=16&seed=5")


def test_queries_are_answered_alike_some_at_a_time(index, monkeypatch):
    asked = split_queries(index, "test")
    whole = Answers.of(index, asked, 0)
    monkeypatch.setattr("geoindex.evaluation.answers.RANKED_TOGETHER", 3)
    parts = Answers.of(index, asked, 0)
    assert len(asked.ids) > 3
    for name in whole.points:
        np.testing.assert_allclose(parts.points[name], whole.points[name], atol=1e-3)
    for name in whole.rivals:
        np.testing.assert_allclose(parts.rivals[name], whole.rivals[name], atol=1e-3)
    np.testing.assert_array_equal(parts.cell, whole.cell)
    np.testing.assert_array_equal(parts.true_cell, whole.true_cell)
    np.testing.assert_allclose(parts.bits, whole.bits, atol=1e-4)
