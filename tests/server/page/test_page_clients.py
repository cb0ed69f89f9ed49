"""Visitors come and go: what is kept for them goes with them. One server in this process, since NiceGUI has one."""

import threading
import time
import weakref

import pytest

pytest.importorskip("selenium")

import uvicorn
from browsing import browser
from httpx2 import get

from geoindex.server.application import create_app
from geoindex.server.page.settings import PageSettings
from geoindex.server.settings import ServerSettings

pytestmark = pytest.mark.browser

MAX_CLIENTS = 3


@pytest.fixture(scope="module")
def address(index, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoindex.server.page.mounting.RECONNECT_S", 0.5)
        page = PageSettings(max_clients=MAX_CLIENTS, games=tmp_path_factory.mktemp("games") / "g.sqlite", game_photos=2)
        app = create_app(ServerSettings(), index, page)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def clients():
    from nicegui import Client

    return Client.instances


def wait_for(count, timeout_s=15.0):
    deadline = time.monotonic() + timeout_s
    while len(clients()) != count and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(clients())


def test_what_is_kept_for_a_visitor_goes_with_him(address, tmp_path):
    for path in ("/", "/play", "/"):
        with browser(tmp_path) as page:
            page.open(f"{address}{path}")
            assert len(clients()) == 1
            kept = [weakref.ref(client) for client in clients().values()]
        assert wait_for(0) == 0
    time.sleep(0.5)
    import gc

    gc.collect()
    assert [ref() for ref in kept] == [None]


def test_a_page_that_is_loaded_again_and_again_is_kept_once(address, tmp_path):
    with browser(tmp_path) as page:
        for _ in range(4):
            page.open(address)
            time.sleep(0.7)
        assert wait_for(1) == 1
    assert wait_for(0) == 0


def test_more_pages_than_allowed_are_refused_and_cost_nothing(address):
    answers = [get(address) for _ in range(MAX_CLIENTS + 5)]
    assert [answer.status_code for answer in answers] == [200] * MAX_CLIENTS + [503] * 5
    assert answers[-1].headers["retry-after"] == "60"
    assert len(clients()) == MAX_CLIENTS
