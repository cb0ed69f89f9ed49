"""A server of an index on object storage moves on to what is published there."""

import logging
from time import monotonic, sleep

import pytest

import geoindex
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


def test_an_index_that_cannot_be_opened_leaves_the_old_one_answering(client, monkeypatch, caplog):
    def refuse(self):
        raise geoindex.errors.IndexDamagedError("It is damaged.")

    monkeypatch.setattr(geoindex.GeoIndex, "reload", refuse)
    with caplog.at_level(logging.WARNING):
        assert wait_for(lambda: len(caplog.records) > 1)
    assert caplog.records[0].getMessage() == "It is damaged. Generation 000001 goes on answering."
    assert generation(client) == "000001"
