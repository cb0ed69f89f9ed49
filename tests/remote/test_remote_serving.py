"""A server of an index on object storage moves on to what is published there."""

import logging
import subprocess
import sys
from time import monotonic, sleep

import pytest

import geoindex
from geoindex.errors import IndexDamagedError
from geoindex.store import objects as layer
from geoindex.transfer import clone_index

pytest.importorskip("fastapi")


def wait_for(happens):
    """Wait until something happens; tell whether it did."""
    end = monotonic() + 20
    while not (done := happens()) and monotonic() < end:
        sleep(0.05)
    return done


@pytest.fixture
def client(published, tiny_encoder):
    from starlette.testclient import TestClient

    from geoindex.server.application import create_app
    from geoindex.server.settings import ServerSettings

    opened = geoindex.open_index(published, encoder=tiny_encoder)
    app = create_app(ServerSettings(follow_s=0.05), opened)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def generation(client):
    return client.get("/v1/index").json()["generation"]


def test_what_is_published_answers_without_a_restart(client, published, index_folder, service, monkeypatch, caplog):
    assert generation(client) == "000001"
    monkeypatch.setattr(layer, "RETRIES", 0)
    service.busy_every = 1
    with caplog.at_level(logging.WARNING):
        assert wait_for(lambda: any("does not answer" in record.getMessage() for record in caplog.records))
    assert generation(client) == "000001"
    service.busy_every = 0
    geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
    clone_index(index_folder, published)
    assert wait_for(lambda: generation(client) == "000002")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (IndexDamagedError("It is damaged."), "It is damaged. Generation 000001"),
        (OSError(24, "no"), "Generation 000001"),
    ],
)
def test_what_goes_wrong_leaves_the_old_one_answering(client, monkeypatch, caplog, error, message):
    def refuse(self):
        raise error

    monkeypatch.setattr(geoindex.GeoIndex, "reload", refuse)
    with caplog.at_level(logging.WARNING):
        assert wait_for(lambda: len(caplog.records) > 1)
    assert caplog.records[0].getMessage().startswith(message)
    assert generation(client) == "000001"


SERVER = """
import asyncio, sys, time
import geoindex
from geoindex.server.application import create_app
from geoindex.server.settings import ServerSettings
from geoindex.store.objects import ObjectFolder

index = geoindex.open_index(sys.argv[1])
read_pieces = ObjectFolder.read_pieces

def slowly(self, *args):
    print("fetching", flush=True)
    for _ in range(100):
        time.sleep(0.1)
        yield b""
    yield from read_pieces(self, *args)

ObjectFolder.read_pieces = slowly
app = create_app(ServerSettings(follow_s=0.05), index)

async def serve():
    async with app.router.lifespan_context(app):
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(serve())
print("stopped", flush=True)
"""


def test_a_server_that_stops_does_not_finish_fetching(published, index_folder):
    """Each of several files takes ten seconds."""
    command = [sys.executable, "-c", SERVER, published]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "open\n"
        geoindex.rebuild_index(index_folder, geocells={"n_cells": 4})
        clone_index(index_folder, published)
        assert server.stdout.readline().startswith("fetching")  # of several threads
        started = monotonic()
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.wait(60) == 0
        assert monotonic() - started < 5
