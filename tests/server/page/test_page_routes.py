import tempfile
from io import BytesIO

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from requesting import OWN, form
from starlette.testclient import TestClient
from tiles import HUBS, error_km

from geoindex.prediction import Prediction
from geoindex.server.engine import Engine
from geoindex.server.page.routes import page_router
from geoindex.server.page.settings import PageSettings
from geoindex.server.page.site import Site
from geoindex.server.problems import add_problems
from geoindex.server.settings import ServerSettings


@pytest.fixture
def asking(index):
    """Open a client of the page's routes alone."""

    def asking(**settings):
        engine, app = Engine(index, ServerSettings(**settings)), FastAPI()
        app.include_router(page_router(Site(engine, PageSettings())))
        add_problems(app)
        engines.append(engine)
        return TestClient(app, base_url=OWN)

    engines = []
    yield asking
    for engine in engines:
        engine.close()


def large_jpeg():
    """Return a photo of more than a megabyte, which form readers would put into a file."""
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    data = BytesIO()
    Image.fromarray(noise).save(data, "JPEG", quality=95)
    assert len(data.getvalue()) > 2**20
    return data.getvalue()


def test_a_photo_is_answered_with_all_that_the_page_shows(asking, jpegs):
    body = asking().post("/page/answer", files=form(jpegs[0])).json()
    assert set(body) == {"summary", "details", "legend", "layers", "geojson"}
    lat, lon = body["layers"]["point"]
    assert error_km(Prediction(lat, lon, "", None, 0.0, "", ()), HUBS["nl"]) < 500
    kinds = [feature["properties"]["kind"] for feature in body["geojson"]["features"]]
    assert kinds[0] == "prediction"
    assert kinds.count("candidate") <= 8
    assert body["layers"]["cells"]


def test_photos_of_one_place_are_answered_together(asking, jpegs):
    body = asking().post("/page/answer", files=form(jpegs[0], jpegs[0])).json()
    alone = asking().post("/page/answer", files=form(jpegs[0])).json()
    assert body["layers"]["point"] == pytest.approx(alone["layers"]["point"])


def test_no_byte_of_a_photo_goes_to_a_file(asking, monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise AssertionError("a temporary file was asked for")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client = asking()
    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert client.post("/page/answer", files=form(large_jpeg())).status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("body", "status"), [(b"no photo", 422), (b"", 422)])
def test_what_is_no_photo_is_told_in_a_sentence(asking, body, status):
    answer = asking().post("/page/answer", files=form(body))
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")


def test_cells_are_withheld_by_a_server_that_rounds(asking, jpegs):
    client = asking(max_precision_km=100.0)
    assert client.get("/page/index.json").status_code == 403
    body = client.post("/page/answer", files=form(jpegs[0])).json()
    assert body["layers"]["cells"] == []


@pytest.mark.parametrize(("thumbnails", "count"), [(False, 0), (True, 6)])
def test_pictures_are_shown_if_the_operator_shows_them(asking, jpegs, thumbnails, count):
    body = asking(thumbnails=thumbnails).post("/page/answer", files=form(jpegs[0])).json()
    assert body["details"].count('/thumbnail"') == count


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("name", ["world.geojson", "places.json", "index.json"])
def test_layers_come_compressed_to_those_that_take_it(asking, name, encoding):
    answer = asking().get(f"/page/{name}", headers={"accept-encoding": encoding})
    assert answer.headers.get("content-encoding", "identity") == encoding
    assert answer.json()


@pytest.mark.parametrize("name", ["page.css", "locate.js", "play.js"])
def test_its_own_files_are_handed_out(asking, name):
    assert asking().get(f"/page/assets/{name}").status_code == 200


@pytest.mark.parametrize("name", ["none.js", "..%2Fsettings.py", "world_map.js"])
def test_no_other_files_are(asking, name):
    assert asking().get(f"/page/assets/{name}").status_code == 404


def test_assets_ask_nothing_of_the_net(asking):
    for name in ("page.css", "locate.js", "play.js"):
        assert "http" not in asking().get(f"/page/assets/{name}").text
