"""The API answers as the library does, in its words."""

import json
from dataclasses import fields

import numpy as np
import pytest
from requesting import JPEG, form

from geoindex.search.options import QueryOptions
from geoindex.server.parameters import QueryParameters


def told(answer):
    """Return an answer without what differs between runs."""
    return {key: value for key, value in answer.items() if key != "timings_ms"}


def rounded(value):
    """Return numbers to six digits: a batch differs from one photo alone in the last bit."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.5g}"))


def same(answer, prediction):
    return rounded(told(answer)) == rounded(told(prediction.to_dict()))


def test_a_body_and_a_form_are_answered_as_by_the_library(client, index, jpegs):
    expected = index.query_image(jpegs[0])
    for answer in (
        client.post("/v1/query", content=jpegs[0], headers=JPEG),
        client.post("/v1/query", content=jpegs[0], headers={"content-type": "application/octet-stream"}),
        client.post("/v1/query", files=form(jpegs[0])),
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert same(answer.json(), expected)


def test_each_step_has_its_time_and_so_has_waiting(client, jpegs):
    timings = client.post("/v1/query", content=jpegs[0], headers=JPEG).json()["timings_ms"]
    assert list(timings) == ["decode", "prepare", "queue", "encode", "project", "search", "answer"]


def test_photos_of_one_form_are_views_of_one_place(client, index, jpegs):
    answer = client.post("/v1/query", files=form(*jpegs[:3])).json()
    assert same(answer, index.query_views(jpegs[:3]))


def test_geojson_on_request(client, index, jpegs):
    accept = {"accept": "text/html;q=0.9, application/geo+json"}
    answer = client.post("/v1/query", content=jpegs[1], headers=JPEG | accept)
    assert answer.headers["content-type"] == "application/geo+json"
    assert rounded(answer.json()) == rounded(index.query_image(jpegs[1]).to_geojson())


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "application/json;q=x"])
def test_another_type_is_refused(client, jpegs, accept):
    answer = client.post("/v1/query", content=jpegs[0], headers=JPEG | {"accept": accept})
    assert answer.status_code == 406
    assert "application/geo+json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("accept", ["*/*", "application/*;q=0.1", "APPLICATION/JSON", "text/html, */*;q=0.5"])
def test_ranges_of_types_are_met(client, jpegs, accept):
    answer = client.post("/v1/query", content=jpegs[0], headers=JPEG | {"accept": accept})
    assert answer.headers["content-type"] == "application/json"


def test_every_option_of_the_library_is_a_parameter():
    options, parameters = {f.name: f.default for f in fields(QueryOptions)}, QueryParameters.model_fields
    assert {name: field.default for name, field in parameters.items()} == options


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 2, "evidence": 0},
        {"within": "10,60,30,100"},
        {"within": "JP"},
        {"within": "cells:0,1"},
        {"rule": "nearest", "refine": "images", "top_cells": 1},
        {"max_precision_km": 500},
    ],
)
def test_options_mean_what_they_mean_in_the_library(client, index, jpegs, options):
    answer = client.post("/v1/query", params=options, content=jpegs[4], headers=JPEG)
    assert answer.status_code == 200, answer.text
    assert same(answer.json(), index.query_image(jpegs[4], **options))


def test_a_polygon_may_be_sent_as_geojson(client, index, jpegs):
    box = {"type": "Polygon", "coordinates": [[[60, 10], [100, 10], [100, 30], [60, 30], [60, 10]]]}
    answer = client.post("/v1/query", params={"within": json.dumps(box)}, content=jpegs[4], headers=JPEG)
    assert same(answer.json(), index.query_image(jpegs[4], within=box))


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"top_k": "many"},
        {"top_k": 101},
        {"top_p": 0},
        {"rule": "guess"},
        {"colour": "red"},
        {"within": "Atlantis"},
        {"within": "0,0,0.001,0.001"},
        {"within": "{}"},
        {"within": "{" * 5000},
    ],
)
def test_an_option_that_cannot_be_meant_is_named(client, jpegs, options):
    answer = client.post("/v1/query", params=options, content=jpegs[0], headers=JPEG)
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "ConfigError"
    assert next(iter(options)) in answer.json()["error"]["message"]


def test_a_cell_that_is_not_there_is_named(client, jpegs):
    answer = client.post("/v1/query", params={"within": "cells:99"}, content=jpegs[0], headers=JPEG)
    assert (answer.status_code, "no cell 99" in answer.text) == (422, True)


def test_a_region_never_names_a_file(client, jpegs, tmp_path):
    (tmp_path / "box.geojson").write_text('{"type": "Point", "coordinates": [0, 0]}')
    answer = client.post("/v1/query", params={"within": str(tmp_path / "box.geojson")}, content=jpegs[0], headers=JPEG)
    assert answer.status_code == 422
    assert "Point" not in answer.text


class TestEmbeddings:
    def test_an_embedding_is_that_of_the_library_and_is_answered_like_its_photo(self, client, index, jpegs):
        sent = client.post("/v1/embedding", content=jpegs[2], headers=JPEG).json()
        expected = index.projection.apply(index.encoder.encode([jpegs[2]]))[0]
        np.testing.assert_allclose(sent["embedding"], expected, atol=1e-6)
        assert sent["encoder"] == index.manifest.encoder["fingerprint"]
        answer = client.post("/v1/query", json={"embedding": sent["embedding"]})
        assert same(answer.json(), index.query_embeddings(expected[None])[0])

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("{", 400),
            ('{"embedding": [' + "0," * 600_000 + "0]}", 413),
            ("[" * 100_000, 400),
            ("[]", 422),
            ("{}", 422),
            ('{"embedding": []}', 422),
            ('{"embedding": [1]}', 422),
            ('{"embedding": ["x"]}', 422),
            ('{"embedding": [NaN]}', 422),
            ('{"embedding": [1e999]}', 422),
            ('{"embedding": [1], "more": 1}', 422),
            (json.dumps({"embedding": [1.0] * 32}), 422),
            (json.dumps({"embedding": [1e300] * 32}), 422),
            (json.dumps({"embedding": [0.0] * 32}), 422),
        ],
    )
    def test_what_is_no_embedding_is_refused(self, client, body, status):
        answer = client.post("/v1/query", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status, answer.text
        assert set(answer.json()["error"]) == {"type", "message"}


class TestBatches:
    def lines(self, answer):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/jsonl"
        return [json.loads(line) for line in answer.text.splitlines()]

    def test_many_photos_are_answered_in_order(self, client, index, jpegs):
        images = jpegs * 12
        lines = self.lines(client.post("/v1/query/batch", params={"top_k": 1}, files=form(*images)))
        assert [line["input"] for line in lines] == [f"{i}.jpg" for i in range(len(images))]
        for line, expected in zip(lines, index.query_images(images, top_k=1), strict=True):
            assert abs(line["lat"] - expected.lat) < 1e-4

    def test_an_unreadable_photo_has_an_error_in_its_place(self, client, jpegs):
        lines = self.lines(client.post("/v1/query/batch", files=form(jpegs[0], b"no photo", jpegs[1])))
        assert ["error" in line for line in lines] == [False, True, False]
        assert lines[1]["input"] == "1.jpg"
        assert lines[1]["error"]["type"] == "UnreadableImageError"

    def test_a_body_that_breaks_off_is_said_in_the_last_line(self, client, jpegs):
        body = b"".join(
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + image + b"\r\n" for image in jpegs[:2]
        )
        answer = client.post(
            "/v1/query/batch", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
        )
        lines = self.lines(answer)
        assert [line.get("input") for line in lines] == ["0", None]
        assert lines[1]["error"]["message"] == "The form breaks off before its end; send it again."

    def test_nothing_to_answer_is_a_refusal(self, client):
        headers = {"content-type": "multipart/form-data; boundary=x"}
        for content, status in ((b"--x--\r\n", 400), (b"", 400), (b"junk", 400)):
            assert client.post("/v1/query/batch", content=content, headers=headers).status_code == status

    def test_more_photos_than_allowed_end_it(self, serving, jpegs):
        with serving(max_batch_images=2) as client:
            lines = self.lines(client.post("/v1/query/batch", files=form(*jpegs[:3])))
        assert ["error" in line for line in lines] == [False, False, True]
