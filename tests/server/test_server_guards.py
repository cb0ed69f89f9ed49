"""What is refused, and how it is said."""

import asyncio
import logging
import tempfile

import pytest
from PIL import Image
from requesting import JPEG, jpeg
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

TOKEN = "0123456789abcdef-token"


def error_of(answer):
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message"}
    assert "Traceback" not in answer.text
    return body["error"]


class TestBodies:
    @pytest.mark.parametrize(
        ("kind", "content", "status"),
        [
            (None, b"x", 415),
            ("text/plain", b"x", 415),
            ("application/x-www-form-urlencoded", b"image=x", 415),
            ("multipart/form-data", b"x", 400),
            ("multipart/form-data; boundary=" + "y" * 300, b"x", 400),
            ("multipart/form-data; boundary=x", b"", 400),
            ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n", 400),
            ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\n', 400),
            ("multipart/form-data; boundary=x", b"--x\r\n\r\ndata\r\n--x--\r\n", 400),
            ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
            ("image/jpeg", b"", 400),
            ("image/jpeg", b"no photo", 422),
            ("image/svg+xml", b"<svg/>", 422),
            ("application/octet-stream", b"\0" * 5000, 422),
        ],
    )
    @pytest.mark.parametrize("address", ["/v1/query", "/v1/embedding"])
    def test_what_is_no_photo_is_refused(self, client, kind, content, status, address):
        headers = {} if kind is None else {"content-type": kind}
        answer = client.post(address, content=content, headers=headers)
        assert (answer.status_code, bool(error_of(answer)["message"])) == (status, True)

    def test_a_bomb_is_not_decoded(self, client):
        bomb = jpeg(Image.new("L", (10_000, 10_000)))
        answer = client.post("/v1/query", content=bomb, headers=JPEG)
        assert answer.status_code == 422
        assert "100000000" not in answer.text or "limit of 50000000" in answer.text
        assert error_of(answer)["type"] == "UnreadableImageError"

    def test_what_is_too_large_is_refused(self, serving, jpegs):
        with serving(max_image_bytes=1000, max_body_bytes=3000, max_views=3) as client:
            small, large = b"\0" * 1000, b"\0" * 1001
            assert client.post("/v1/query", content=small, headers=JPEG).status_code == 422
            assert client.post("/v1/query", content=large, headers=JPEG).status_code == 413
            assert client.post("/v1/query", files=[("image", large)]).status_code == 413
            assert client.post("/v1/query", files=[("image", b"x")] * 4).status_code == 413
            assert client.post("/v1/query", content=b"\0" * 3001, headers=JPEG).status_code == 413
            assert client.post("/v1/query", content=iter([large] * 4), headers=JPEG).status_code == 413

    def test_several_photos_have_one_embedding_each(self, client, jpegs):
        answer = client.post("/v1/embedding", files=[("image", jpegs[0]), ("image", jpegs[1])])
        assert answer.status_code == 413

    def test_no_byte_of_a_photo_goes_to_a_file(self, client, monkeypatch):
        def no_file(*args, **kwargs):
            raise AssertionError("a temporary file")

        for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
            monkeypatch.setattr(tempfile, name, no_file)
        large = jpeg(Image.effect_noise((2000, 2000), 90))
        assert len(large) > 3 * 2**20
        assert client.post("/v1/query", files=[("image", ("a.jpg", large))]).status_code == 200
        assert client.post("/v1/query", content=large, headers=JPEG).status_code == 200
        assert client.post("/v1/query/batch", files=[("image", ("a.jpg", large))]).status_code == 200


class TestAddresses:
    def test_an_address_that_is_not_there(self, client):
        assert client.get("/v2/query").status_code == 404
        assert error_of(client.get("/v1"))["message"] == "There is no such address."

    def test_a_method_that_is_not_taken(self, client):
        answer = client.get("/v1/query")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        error_of(answer)

    @pytest.mark.parametrize(
        ("method", "address", "status", "allowed"),
        [
            ("TRACE", "/v1/query", 405, "POST"), ("DELETE", "/healthz", 405, "GET"), ("PUT", "/metrics", 405, "GET"),
            ("GET", "/v1/queries", 404, None), ("POST", "/v1/clusters/x/y", 404, None),
        ],
    )  # fmt: skip
    def test_a_page_behind_the_api_answers_nothing_of_it(self, serving, method, address, status, allowed):
        with serving() as client:
            client.app.mount("/", Response("a page"))
            answer = client.request(method, address)
            assert (answer.status_code, answer.headers.get("allow")) == (status, allowed)
            error_of(answer)
            assert client.get("/elsewhere").text == "a page"

    def test_no_page_from_elsewhere_is_shown(self, client):
        assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


class TestFaults:
    @pytest.fixture
    def broken(self, serving, monkeypatch):
        def fail(*args):
            raise ZeroDivisionError("secret /srv/photos")

        with serving() as client:
            monkeypatch.setattr("geoindex.server.engine.prepare_query", fail)
            yield client

    def test_a_fault_of_ours_is_one_sentence_and_a_line_in_the_log(self, broken, jpegs, caplog):
        with caplog.at_level(logging.ERROR):
            answer = broken.post("/v1/query", content=jpegs[0], headers=JPEG)
        assert answer.status_code == 500
        assert error_of(answer) == {"type": "ServerError", "message": "The server failed; its log says why."}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "secret" in caplog.text
        assert len([record for record in caplog.records if record.name.startswith("geoindex")]) == 1

    def test_in_a_batch_it_stands_in_its_place(self, broken, jpegs, caplog):
        answer = broken.post("/v1/query/batch", files=[("image", jpegs[0])])
        assert answer.status_code == 200
        assert answer.json()["error"]["message"] == "The server failed; its log says why."

    def test_damage_of_the_index_names_no_folder(self, serving, jpegs, monkeypatch):
        from geoindex.errors import IndexDamagedError

        def fail(*args):
            raise IndexDamagedError("The files in '/srv/index' are gone.")

        with serving() as client:
            monkeypatch.setattr("geoindex.server.engine.prepare_query", fail)
            answer = client.post("/v1/query", content=jpegs[0], headers=JPEG)
        assert answer.status_code == 503
        assert "/srv" not in answer.text


@pytest.fixture(scope="module")
def guarded(serving):
    with serving(token=TOKEN, base_url="https://geo.example.org") as client:
        yield client


class TestToken:
    @pytest.mark.parametrize(
        "shown",
        [
            None,
            "Bearer",
            "Bearer wrong",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Digest {TOKEN}",
            TOKEN,
            "Basic !!!",
            "Basic eDp5",
        ],
    )
    def test_without_it_nothing_is_told(self, guarded, shown):
        headers = {} if shown is None else {"authorization": shown}
        for address in ("/v1/index", "/metrics", "/openapi.json", "/v1/nothing"):
            answer = guarded.get(address, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert error_of(answer)["type"] == "RequestError"

    def test_with_it_all_is(self, guarded, jpegs):
        bearer = {"authorization": f"bearer {TOKEN}"}
        assert guarded.post("/v1/query", content=jpegs[0], headers=JPEG | bearer).status_code == 200
        assert guarded.get("/v1/index", auth=("anybody", TOKEN)).status_code == 200

    def test_supervisors_need_none(self, guarded):
        assert guarded.get("/healthz").status_code == guarded.get("/readyz").status_code == 200

    def test_a_browser_is_asked_to_ask(self, guarded):
        answer = guarded.get("/")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")

    def test_it_is_compared_in_constant_time(self, serving, monkeypatch):
        compared = []
        monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)) or False)
        with serving(token=TOKEN) as client:
            assert client.get("/v1/index", headers={"authorization": "Bearer x"}).status_code == 401
        assert compared == [(b"x", TOKEN.encode())]


class TestHosts:
    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:80", "[::1]:8000"])
    def test_own_names(self, client, host):
        assert client.get("/v1/index", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1.evil.example.org", "", "[::1", "10.0.0.1"])
    def test_strange_names(self, client, host):
        answer = client.get("/v1/index", headers={"host": host})
        assert answer.status_code == 421
        error_of(answer)

    def test_names_that_are_allowed(self, serving):
        with serving(allowed_hosts=("Geo.example.org",)) as client:
            assert client.get("/v1/index", headers={"host": "geo.example.org"}).status_code == 200
            assert client.get("/v1/index", headers={"host": "example.org"}).status_code == 421

    @pytest.mark.parametrize("headers", [{"origin": "https://evil.example.org"}, {"host": "evil.example.org"}])
    def test_web_sockets_of_strange_pages_are_closed(self, client, headers):
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/", headers=headers):
            pass
        assert closed.value.code == 1008


class TestHeaders:
    def test_answers_are_nothing_that_a_browser_runs(self, client):
        headers = client.get("/v1/index").headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"

    def test_pages_take_nothing_from_elsewhere(self, client):
        policy = client.get("/").headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy

    def test_refusals_have_them_too(self, client, serving):
        with serving(token=TOKEN) as guarded:
            answers = [client.get("/v1/index", headers={"host": "x"}), guarded.get("/v1/index"), client.get("/v1/no")]
        assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}


ASKED = {"origin": "https://maps.example.org", "access-control-request-method": "POST"}


class TestCors:
    def test_it_is_off(self, client, jpegs):
        answers = client.options("/v1/query", headers=ASKED), client.get("/v1/index", headers=ASKED)
        assert not any(name.startswith("access-control") for answer in answers for name in answer.headers)

    def test_it_is_on_for_pages_that_are_named(self, serving):
        with serving(cors_origins=("https://maps.example.org",), token=TOKEN) as client:
            allowed = client.options("/v1/query", headers=ASKED)
            refused = client.options("/v1/query", headers=ASKED | {"origin": "https://evil.example.org"})
        assert allowed.headers["access-control-allow-origin"] == "https://maps.example.org"
        assert "access-control-allow-origin" not in refused.headers


async def asgi(app, messages, path="/v1/query"):
    """Return the status and headers that an application answers a body with whose messages come as they are awaited."""
    sent = []

    async def receive():
        return await anext(messages)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"image/jpeg")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


class TestSlowness:
    async def drip(self, size, pause_s):
        while True:
            yield {"type": "http.request", "body": bytes(size), "more_body": True}
            await asyncio.sleep(pause_s)

    @pytest.mark.parametrize("path", ["/v1/query", "/v1/query/batch"])
    def test_a_body_that_drips_is_cut_off(self, serving, path):
        with serving(read_timeout_s=0.2, min_bytes_per_s=1000) as client:
            drip = self.drip(1, 0.05)
            status, headers = asyncio.run(asyncio.wait_for(asgi(client.app, drip, path), 5))
        assert (status, headers[b"connection"]) == (408, b"close")

    def test_one_that_flows_may_take_its_time(self, serving):
        async def flow():
            for _ in range(8):
                yield {"type": "http.request", "body": bytes(100), "more_body": True}
                await asyncio.sleep(0.05)
            yield {"type": "http.request", "body": b"", "more_body": False}

        with serving(read_timeout_s=0.1, min_bytes_per_s=1000) as client:
            status, _ = asyncio.run(asyncio.wait_for(asgi(client.app, flow()), 5))
        assert status == 422

    def test_who_leaves_is_not_logged(self, client, caplog):
        async def leave():
            yield {"type": "http.request", "body": b"x", "more_body": True}
            yield {"type": "http.disconnect"}

        status, _ = asyncio.run(asgi(client.app, leave()))
        assert status == 400
        assert not caplog.records


def test_the_document_says_whether_a_token_is_needed(client, guarded):
    open_, closed = client.get("/openapi.json").json(), guarded.get("/openapi.json", auth=("x", TOKEN)).json()
    assert "securitySchemes" not in open_["components"]
    assert closed["paths"]["/v1/query"]["post"]["security"]
    assert "security" not in closed["paths"]["/healthz"]["get"]
