import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from geoindex.errors import ConfigError, RequestError
from geoindex.server.guards.token import TokenGuard
from geoindex.server.page.policy import PagePolicy
from geoindex.server.page.settings import PageSettings
from geoindex.server.page.sign_in import COOKIE, SignIn

TOKEN = "0123456789abcdef-token"
HTML = {"accept": "text/html"}
PAGE = "<!doctype html><script>a()</script><p>&lt;script></p><script src=b.js></script>"


def client(*middleware, base_url="http://127.0.0.1"):
    routes = [
        Route("/", lambda request: HTMLResponse(PAGE)),
        Route("/v1/index", lambda request: PlainTextResponse("<script>text</script>")),
    ]
    return TestClient(Starlette(routes=routes, middleware=middleware), base_url=base_url, follow_redirects=False)


@pytest.fixture
def guarded():
    return client(Middleware(SignIn, token=TOKEN), Middleware(TokenGuard, token=TOKEN))


def test_every_script_carries_the_nonce_of_its_answer():
    asked = client(Middleware(PagePolicy))
    nonces = []
    for _ in range(2):
        answer = asked.get("/")
        named = re.search(r"script-src 'self' 'nonce-([\w-]+)'", answer.headers["content-security-policy"])
        nonces.append(named.group(1))
        assert answer.text.count(f'nonce="{named.group(1)}"') == 2
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert nonces[0] != nonces[1]


def test_no_script_of_a_stranger_runs():
    policy = client(Middleware(PagePolicy)).get("/").headers["content-security-policy"]
    scripts = re.search(r"script-src ([^;]*)", policy).group(1)
    assert "unsafe-inline" not in scripts
    assert "http" not in policy
    assert policy.startswith("default-src 'none'")


def test_tiles_come_from_the_named_server_alone():
    settings = PageSettings(tiles="https://{s}.tiles.example.org:8443/{z}/{x}/{y}.png")
    policy = client(Middleware(PagePolicy, tile_origin=settings.tile_origin)).get("/")
    policy = policy.headers["content-security-policy"]
    assert policy.count("example.org") == 1
    assert "img-src 'self' data: blob: https://*.tiles.example.org:8443;" in policy


def test_what_is_no_page_is_left_alone():
    answer = client(Middleware(PagePolicy)).get("/v1/index")
    assert answer.text == "<script>text</script>"
    assert "content-security-policy" not in answer.headers


@pytest.mark.parametrize(
    "tiles", ["tiles.example.org/{z}/{x}/{y}.png", "https://example.org/{z}/{x}.png", "javascript:alert(1)",
              "https://a b/{z}/{x}/{y}", "https://x;script-src/{z}/{x}/{y}", "ftp://example.org/{z}/{x}/{y}"],
)  # fmt: skip
def test_what_is_no_tile_server_is_refused(tiles):
    with pytest.raises(ConfigError, match="tiles is"):
        PageSettings(tiles=tiles)


@pytest.mark.parametrize("changes", [{"game_photos": 0}, {"max_clients": 0}])
def test_counts_are_positive(changes):
    with pytest.raises(ConfigError, match="at least 1"):
        PageSettings(**changes)


def test_a_page_without_the_token_is_shown_the_way_in(guarded):
    answer = guarded.get("/", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "token" in guarded.get("/sign-in").text


def test_the_api_is_not_sent_to_a_page(guarded):
    assert guarded.get("/v1/index").status_code == 401
    assert guarded.get("/v1/index", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_wrong_token_opens_nothing(guarded):
    answer = guarded.post("/sign-in", data={"token": TOKEN[:-1]})
    assert (answer.status_code, COOKIE in guarded.cookies) == (401, False)
    assert "not the token" in answer.text
    with pytest.raises(RequestError, match="4096 bytes"):
        guarded.post("/sign-in", data={"token": "x" * 10_000})


def test_the_right_token_is_asked_for_once(guarded):
    answer = guarded.post("/sign-in", data={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    kept = answer.headers["set-cookie"].lower()
    assert "httponly" in kept
    assert "samesite=strict" in kept
    assert TOKEN not in kept
    assert guarded.get("/", headers=HTML).status_code == 200
    assert guarded.get("/v1/index").status_code == 200


def test_over_https_the_cookie_stays_there():
    asked = client(
        Middleware(SignIn, token=TOKEN), Middleware(TokenGuard, token=TOKEN), base_url="https://geo.example.org"
    )
    assert "secure" in asked.post("/sign-in", data={"token": TOKEN}).headers["set-cookie"].lower()


@pytest.mark.parametrize("cookie", ["", "x", "geoindex", "é"])
def test_another_cookie_opens_nothing(guarded, cookie):
    answer = guarded.get("/", headers=[("accept", "text/html"), ("cookie", f"{COOKIE}={cookie}".encode())])
    assert answer.status_code == 303
