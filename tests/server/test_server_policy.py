"""A server that rounds tells nothing finer, however it is asked."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from requesting import JPEG
from tiles import tile, write_world

import geoindex
from geoindex.errors import ConfigError, MissingExtraError
from geoindex.geo import coarsen, haversine_km
from geoindex.server.running import serve
from geoindex.server.settings import ServerSettings, read_token

KM = 300.0


@pytest.fixture(scope="module")
def rounding(serving):
    with serving(max_precision_km=KM) as client:
        yield client


def ask(client, image, **options):
    answer = client.post("/v1/query", params=options, content=image, headers=JPEG)
    assert answer.status_code == 200, answer.text
    return answer.json()


def points(answer):
    return {(each["lat"], each["lon"]) for each in (answer, *answer["candidates"], *answer["evidence"])}


@pytest.mark.parametrize("options", [{}, {"max_precision_km": 1}, {"max_precision_km": 300}, {"refine": "images"}])
def test_every_point_lies_in_the_grid(rounding, index, jpegs, options):
    for image in jpegs:
        answer = ask(rounding, image, **options)
        assert answer["max_precision_km"] == KM
        assert all(coarsen(*point, KM) == pytest.approx(point) for point in points(answer))
        assert {candidate["cluster"] for candidate in answer["candidates"]} == {-1}
        assert (answer["confidence"], answer["within_km"]) == (None, None)
        exact = index.query_image(image, refine=options.get("refine"))
        assert coarsen(exact.lat, exact.lon, KM) == pytest.approx((answer["lat"], answer["lon"]))
        for each in answer["evidence"]:
            told_km = haversine_km(answer["lat"], answer["lon"], each["lat"], each["lon"])
            assert each["distance_km"] == pytest.approx(float(told_km))


def test_geojson_is_rounded_too(rounding, jpegs):
    answer = rounding.post("/v1/query", content=jpegs[0], headers=JPEG | {"accept": "application/geo+json"}).json()
    lon, lat = answer["features"][0]["geometry"]["coordinates"]
    assert coarsen(lat, lon, KM) == pytest.approx((lat, lon))


def test_coarser_answers_follow_from_the_finest_that_is_told(rounding, jpegs):
    """Tiles of other widths around the same point would overlap in less than one tile."""
    for image in jpegs:
        finest = points(ask(rounding, image, evidence=0))
        for km in (310, 377, 421, 555, 1000):
            answer = ask(rounding, image, evidence=0, max_precision_km=km)
            assert answer["max_precision_km"] == km
            assert points(answer) <= {coarsen(*point, km) for point in finest}


def test_a_batch_is_rounded_too(rounding, jpegs):
    answer = rounding.post("/v1/query/batch", files=[("image", jpegs[0])])
    assert answer.json()["max_precision_km"] == KM


def test_an_embedding_is_answered_as_roughly(rounding, jpegs):
    embedding = rounding.post("/v1/embedding", content=jpegs[0], headers=JPEG).json()["embedding"]
    answer = rounding.post("/v1/query", json={"embedding": embedding}).json()
    assert all(coarsen(*point, KM) == pytest.approx(point) for point in points(answer))


@pytest.mark.parametrize("within", ["50,4,51,5", "NL", "cells:1"])
def test_answers_in_ever_smaller_regions_are_refused(rounding, jpegs, within):
    answer = rounding.post("/v1/query", params={"within": within}, content=jpegs[0], headers=JPEG)
    assert answer.status_code == 403


@pytest.mark.parametrize("address", ["/v1/cells.geojson", "/v1/clusters/0", "/v1/images/nl-00.jpg/thumbnail"])
def test_what_would_undo_the_rounding_is_withheld(rounding, address):
    answer = rounding.get(address)
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "RequestError"


def test_the_server_says_that_it_rounds(rounding):
    assert rounding.get("/v1/index").json()["limits"]["max_precision_km"] == KM


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"host": "0.0.0.0"}, r"Other machines reach host 0\.0\.0\.0; give --token-file"),
            ({"host": "192.168.1.2"}, "give --token-file"),
            ({"host": "0.0.0.0", "token": "short"}, "16 ASCII characters"),
            ({"token": "é" * 20}, "16 ASCII characters"),
            ({"port": 70000}, "from 0 to 65535"),
            ({"max_waiting": 0}, "max_waiting is 0; it must be positive"),
            ({"max_precision_km": 0.0}, "max_precision_km"),
            ({"max_precision_km": 5e-324}, "must be from 0.001 to 20000"),
            ({"deadline_s": float("nan")}, "deadline_s"),
            ({"thumbnails": True, "max_precision_km": 5.0}, "leave out thumbnails"),
        ],
    )
    def test_what_cannot_be_meant_is_said(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            ServerSettings(**settings)

    def test_a_token_opens_other_hosts_and_is_not_printed(self):
        settings = ServerSettings(host="0.0.0.0", token="x" * 16)
        assert not settings.is_loopback
        assert "xxxx" not in repr(settings)

    def test_a_token_file_is_read_without_white_space(self, tmp_path):
        (tmp_path / "token").write_text("  0123456789abcdef\n")
        assert read_token(tmp_path / "token") == "0123456789abcdef"
        with pytest.raises(ConfigError, match="cannot be read"):
            read_token(tmp_path / "none")


class TestGallery:
    def test_what_the_index_holds_names_no_file(self, client, built, index):
        answer = client.get("/v1/index")
        facts = answer.json()
        assert facts["counts"] == index.manifest.counts
        assert facts["encoder"]["spec"].startswith("timm:")
        assert str(built.path) not in answer.text
        assert "/tmp" not in answer.text

    def test_cells_are_polygons_that_are_fetched_once(self, client, index):
        answer = client.get("/v1/cells.geojson")
        assert answer.headers["content-type"] == "application/geo+json"
        features = answer.json()["features"]
        assert len(features) == index.manifest.counts["cells"]
        assert sum(f["properties"]["n_images"] for f in features) == index.manifest.counts["gallery"]
        assert {f["geometry"]["type"] for f in features} <= {"Polygon", "MultiPolygon"}
        again = client.get("/v1/cells.geojson", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")

    def test_a_cluster_is_that_of_a_candidate(self, client, jpegs):
        candidate = ask(client, jpegs[3])["candidates"][0]
        facts = client.get(f"/v1/clusters/{candidate['cluster']}").json()
        assert {key: facts[key] for key in ("cluster", "cell", "n_images", "place", "radius_km")} == {
            key: candidate[key] for key in ("cluster", "cell", "n_images", "place", "radius_km")
        }

    @pytest.mark.parametrize(("id", "status"), [("99999", 404), ("-1", 422), ("x", 422), ("9" * 30, 422)])
    def test_a_cluster_that_is_not_there(self, client, id, status):
        assert client.get(f"/v1/clusters/{id}").status_code == status

    def test_photos_are_not_shown_unless_allowed(self, client):
        assert client.get("/v1/images/nl-00.jpg/thumbnail").status_code == 403

    def test_small_pictures_are_of_the_gallery_alone(self, serving, jpegs, world, index):
        held_out = {path.name for path in world.parent.glob("*.jpg")} - set(index.searcher.sidecar.gallery.ids())
        with serving(thumbnails=True) as client:
            id = ask(client, jpegs[0])["evidence"][0]["id"]
            picture = client.get(f"/v1/images/{id}/thumbnail")
            assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
            assert picture.content[:2] == b"\xff\xd8"
            for name in (held_out.pop(), f"x/%2e%2e/{id}", "metadata.csv", "/etc/passwd"):
                assert client.get(f"/v1/images/{name}/thumbnail").status_code == 404

    def test_a_photo_that_was_added_later_is_read_from_its_own_source(self, serving, index_folder, tmp_path):
        """The first source has another photo of the same name."""
        rows = [("nl-00.jpg", 10.0, -10.0, "us", "somebody")]
        added = write_world(tmp_path / "more", rows)
        index = geoindex.open_index(index_folder, device="cpu")
        index.add(added, columns={"id": "author"})
        with serving(index=index, thumbnails=True) as client:
            picture = client.get("/v1/images/somebody/thumbnail")
        red, green, blue = Image.open(BytesIO(picture.content)).getpixel((5, 5))
        assert abs(np.array([red, green, blue]) - tile(10.0, -10.0).getpixel((5, 5))).max() < 8


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr("geoindex.server.running.EXTRA", ("fastapi", "no_such_package"))
    with pytest.raises(MissingExtraError, match=r"pip install 'geoindex\[serve\]'"):
        serve(tmp_path, ServerSettings())
