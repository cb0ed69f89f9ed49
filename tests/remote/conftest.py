"""Fixtures of the tests of object storage: the service, an empty bucket, a cache, an index that is published."""

from itertools import count

import obstore
import pytest
from obstore.store import S3Store
from service import Service

import geoindex

NUMBERS = count()


@pytest.fixture(scope="session")
def running():
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def service(running, monkeypatch, tmp_path):
    """The service, with an account that may use it and an empty cache."""
    keys = {"AWS_ACCESS_KEY_ID": "right", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    for key, value in {**keys, "AWS_ENDPOINT_URL": running.url, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("GEOINDEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.busy_every, running.on_request = 0, None
    running.forget()
    return running


@pytest.fixture
def bucket(service):
    """A new bucket, as a store."""
    import urllib.request

    name = f"bucket{next(NUMBERS)}"
    urllib.request.urlopen(urllib.request.Request(f"{service.url}/{name}", method="PUT")).close()
    return S3Store(name)


@pytest.fixture
def url(bucket):
    """Where an index may be published."""
    return f"s3://{bucket.config['bucket']}/indexes/world"


@pytest.fixture
def published(built, url, service):
    """The URL of the index of the world."""
    geoindex.clone_index(built.path, url)
    service.forget()
    return url


@pytest.fixture
def objects(bucket):
    """Return the objects of the bucket by name: their sizes."""
    return lambda: {m["path"]: m["size"] for page in obstore.list(bucket) for m in page}
