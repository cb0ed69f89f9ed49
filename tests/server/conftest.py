"""Servers in this process, over the small world of tiles."""

from contextlib import contextmanager

import pytest
from requesting import OWN, jpeg
from tiles import PHOTOS


@pytest.fixture(scope="session")
def jpegs():
    """Every photo of the hubs as JPEG."""
    return [jpeg(photo) for photo in PHOTOS]


@pytest.fixture(scope="session")
def serving(index):
    """Open a client of a server with some settings."""
    from starlette.testclient import TestClient

    from geoindex.server.application import create_app
    from geoindex.server.settings import ServerSettings

    @contextmanager
    def serving(index=index, base_url=OWN, **settings):
        with TestClient(create_app(ServerSettings(**settings), index), base_url=base_url) as client:
            yield client

    return serving


@pytest.fixture(scope="session")
def client(serving):
    """A client of a server with default settings."""
    with serving() as client:
        yield client
