"""The folder of a report: one page that needs nothing else, and the same figures for programs."""

import json
import re
import shutil
from html import unescape

import numpy as np
import pytest
from tiles import HUBS, save_tile, write_table

import geoindex
from geoindex.errors import StorageError
from geoindex.evaluation.answers import Answers
from geoindex.evaluation.breakdown import FEWEST, standings_of
from geoindex.evaluation.confusion import Confusion
from geoindex.evaluation.predictions import read_predictions
from geoindex.evaluation.protocol import evaluate
from geoindex.evaluation.queries import split_queries
from geoindex.evaluation.thumbnails import SIDE, Thumbnails
from geoindex.geo import haversine_km
from geoindex.metrics import GEOINDEX, geoscore


@pytest.fixture(scope="module")
def folder(index, tmp_path_factory):
    """The report of the train split, which has countries with enough photos; nobody writes to it."""
    folder = tmp_path_factory.mktemp("report") / "deep" / "report"
    evaluate(index, split="train", folder=folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def figures(folder):
    return json.loads((folder / "report.json").read_text("utf-8"))


def section(page, key):
    return page.partition(f'<section id="{key}">')[2].partition("</section>")[0]


def test_the_folder_has_page_pictures_and_figures(folder):
    names = {path.name for path in folder.iterdir()}
    pictures = {"errors.png", "curves.png", "countries.png", "confusion.png"}
    assert names == {"report.html", "report.json", "predictions.json", *pictures}


def test_the_page_needs_nothing_else(page):
    references = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?([^"'\s>]+)""", page)
    assert len(references) > 10
    assert all(text.startswith(("data:", "#")) for text in references)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|https?://", page)


def test_every_tag_is_closed(page):
    from html.parser import HTMLParser

    class Checker(HTMLParser):
        open: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "link", "img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(page)
    assert checker.open == []


def test_the_weakest_countries_stand_at_the_top(index, folder, page, figures):
    found = read_predictions(folder / "predictions.json")
    countries = [name for name, *_ in place_countries(found)]
    scores = geoscore(found.distance_km)
    means = {c: np.mean([s for s, other in zip(scores, countries, strict=True) if other == c]) for c in set(countries)}
    judged = [c for c in means if countries.count(c) >= FEWEST]
    wanted = sorted(judged, key=means.get)[:3]
    assert len(wanted) == 3
    assert figures["weakest_countries"] == wanted
    top = page.partition('<div class="weak">')[2].partition("</div>")[0]
    assert [unescape(name) for name in re.findall(r"<li><b>(.*?)</b>", top)] == wanted
    assert page.index('<div class="weak">') < page.index("<section")


def place_countries(found):
    from geoindex.places import nearest_labels

    return [(name,) for name in nearest_labels(found.true_lat, found.true_lon, "country")]


def test_every_system_is_in_the_table_and_the_index_stands_out(page, figures):
    table = section(page, "systems")
    for row in figures["rows"]:
        assert unescape(table).count(f'data-value="{row["name"]}"') == 1
    assert table.count("<tr class=own>") == 1
    assert len(re.findall("<small>[^<]{10,}</small>", table)) == len(figures["rows"])


def test_every_country_is_in_the_table(page, figures):
    rows = re.findall(r'<tr(?: class=few)?><td data-value="([^"]+)"', section(page, "countries"))
    parts = [part["name"] for key in ("countries", "continents") for part in figures["detail"][key]]
    assert sorted(map(unescape, rows)) == sorted(parts)


def test_the_page_warns_of_queries_in_the_gallery(page, index):
    assert "these figures flatter" in page
    assert str(index.manifest.counts["gallery"]) in page


def test_cases_have_photos_and_evidence(page, figures):
    for key in ("worst", "best"):
        text = section(page, key)
        assert text.count("<article") == len(figures[key]) > 0
        assert text.count("data:image/jpeg;base64,") == sum(
            1 + len(case["prediction"]["evidence"]) for case in figures[key]
        )
    assert figures["worst"][0]["error_km"] >= figures["worst"][-1]["error_km"] >= figures["best"][-1]["error_km"]
    assert figures["best"][0]["error_km"] <= figures["best"][-1]["error_km"]


def test_cases_are_the_extremes_and_answer_as_measured(folder, figures):
    found = read_predictions(folder / "predictions.json")
    assert figures["worst"][0]["error_km"] == found.distance_km.max()
    assert figures["best"][0]["error_km"] == found.distance_km.min()
    for case in figures["worst"]:
        row = found.ids.index(case["id"])
        answer = case["prediction"]
        assert (answer["lat"], answer["lon"]) == pytest.approx((found.lat[row], found.lon[row]))


def test_settings_name_what_was_measured(page, figures, index):
    text = unescape(section(page, "settings"))
    assert index.manifest.encoder["fingerprint"] in text
    assert all(record.sha256 in text for record in index.manifest.files.values())
    assert figures["settings"]["evaluation"]["seed"] == 0
    assert figures["settings"]["index"]["generation"] == index.manifest.generation


def test_the_same_run_gives_the_same_folder(index, folder, tmp_path):
    evaluate(index, split="train", folder=tmp_path)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_names_from_outside_are_escaped(index, tmp_path):
    name = "<script>alert(1)</script> & \"'.jpg".replace("/", "_")
    save_tile(tmp_path / name, *HUBS["jp"])
    table = write_table(tmp_path / "a&b<i>.csv", [(name, *HUBS["jp"])], ("image", "lat", "lon"))
    evaluate(index, source=str(table), folder=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_one_query_is_enough(index, tmp_path):
    save_tile(tmp_path / "a.jpg", *HUBS["jp"])
    table = write_table(tmp_path / "a.csv", [("a.jpg", *HUBS["jp"])], ("image", "lat", "lon"))
    evaluate(index, source=str(table), folder=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "No country has 5 queries" in page
    assert not (tmp_path / "report" / "countries.png").exists()
    assert section(page, "worst").count("<article") == 1
    assert section(page, "best").count("<article") == 0


def test_pictures_that_are_gone_are_left_out(index_folder, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(Thumbnails, "of", classmethod(lambda cls, uri, columns: cls(None)))
    evaluate(geoindex.open_index(index_folder, encoder=tiny_encoder), folder=tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "data:image/jpeg" not in page
    assert "no picture at hand" in section(page, "worst")


def test_thumbnails_are_small_or_none(world, tmp_path):
    from io import BytesIO

    from PIL import Image

    Image.new("RGB", (900, 300), "red").save(tmp_path / "wide.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    rows = [("wide.jpg", 1.0, 2.0), ("bad.jpg", 1.0, 3.0)]
    found = Thumbnails.of(str(write_table(tmp_path / "t.csv", rows, ("image", "lat", "lon"))), {})
    with Image.open(BytesIO(found.jpeg("wide.jpg"))) as picture:
        assert picture.size == (SIDE, SIDE // 3)
    assert [found.jpeg(image) for image in ("bad.jpg", "gone.jpg", "")] == [None, None, None]
    assert Thumbnails.of(str(tmp_path / "gone.csv"), {}).jpeg("wide.jpg") is None


def test_an_index_of_embeddings_has_a_report_without_pictures(tmp_path):
    built = geoindex.build_index("planted:400?dim=16", out=tmp_path / "planted")
    evaluate(built.path, folder=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "data:image/jpeg" not in page
    assert section(page, "worst").count("<article") == 6


def test_confusion_counts_every_query(index):
    asked = split_queries(index, "train")
    found = Confusion.of(index.searcher, Answers.of(index, asked, 0))
    geography = index.searcher.geography
    km = haversine_km(asked.lat[:, None], asked.lon[:, None], geography.lat, geography.lon)
    assert np.array_equal(found.true, geography.cell[km.argmin(axis=1)])
    cells = found.busiest(100)
    counts, elsewhere = found.matrix(cells)
    assert counts.sum() == len(asked.ids)
    assert elsewhere.sum() == 0
    assert np.trace(counts) == round(found.right * len(asked.ids))
    few, beyond = found.matrix(cells[:2])
    assert np.array_equal(few, counts[:2, :2])
    assert np.array_equal(beyond, counts[:2, 2:].sum(axis=1))


def test_mistakes_are_counted_by_pairs():
    found = Confusion(np.array([0, 0, 0, 1, 2]), np.array([1, 1, 0, 2, 2]), ["Oslo", "Bergen", "Bergen"])
    first, second = found.mistakes(5)
    assert (first.true, first.answered, first.count, first.of) == ("Oslo", "Bergen", 2, 3)
    assert (second.count, second.of) == (1, 1)
    assert found.right == pytest.approx(0.4)


def test_cells_of_one_name_are_told_apart(index):
    from geoindex.evaluation.confusion import _distinct

    assert _distinct(["Oslo", "Bergen", "Oslo", ""]) == ["Oslo (cell 0)", "Bergen", "Oslo (cell 2)", " (cell 3)"]


def test_standings_put_the_weakest_of_the_judged_first():
    off_km = np.array([0.0] * FEWEST + [9000.0] * FEWEST + [20000.0])
    groups = np.array(["good"] * FEWEST + ["weak"] * FEWEST + ["rare"])
    found = standings_of(off_km, groups, GEOINDEX, seed=0)
    assert [each.part.name for each in found] == ["weak", "good", "rare"]
    assert [each.judged for each in found] == [True, True, False]
    assert found[0].geoscore.value == pytest.approx(float(geoscore(9000.0)))


def test_the_command_writes_it(run, index_folder, tmp_path):
    shutil.rmtree(tmp_path / "report", ignore_errors=True)
    code, out, _ = run("eval", index_folder, "--report", tmp_path / "report")
    assert code == 0
    assert "geoindex, score" in out
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000


def test_a_folder_that_cannot_be_is_refused(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        evaluate(index, folder=tmp_path / "file")


def test_the_calibration_is_drawn_where_there_is_one(tmp_path):
    keys = {"split_ratio": [0.6, 0.2, 0.2], "training": {"method": "none"}}
    path = geoindex.build_index("planted:1200?dim=16&noise=0.5", out=tmp_path / "index", **keys).path
    report = evaluate(path, folder=tmp_path / "report")
    assert (tmp_path / "report" / "calibration.png").stat().st_size > 10_000
    text = section((tmp_path / "report" / "report.html").read_text("utf-8"), "calibration")
    assert text.count("<img") == 1
    for chance in report.confidence.chances:
        assert f">{100 * chance.told:.1f}<" in text
        assert f">{chance.error:.3f}<" in text
    for radius in report.confidence.radii:
        assert f">{100 * radius.held:.1f}<" in text


def test_an_index_without_calibration_says_so(page):
    assert "never calibrated" in section(page, "calibration")
