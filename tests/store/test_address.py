from pathlib import Path

import pytest

from geoindex.errors import ConfigError
from geoindex.store.address import cache_folder, cache_of, folder_of, place_of, url_of
from geoindex.store.generations import IndexFolder

URLS = {
    "s3://bucket/a/b": "s3://bucket/a/b",
    "s3://bucket/a/b/": "s3://bucket/a/b",
    "s3://bucket": "s3://bucket",
    "gs://bucket/größe x": "gs://bucket/größe x",
    "az://container/a": "az://container/a",
}


@pytest.mark.parametrize(("given", "url"), URLS.items())
def test_a_url_is_one_also_as_a_path(given, url):
    assert url_of(given) == url_of(Path(given)) == place_of(given) == url


@pytest.mark.parametrize(
    "given", ["indexes/mine", "/tmp/s3:x", "s3:x", "C:/indexes", "C:\\indexes", "./s3://b", "", "s3"]
)
def test_all_else_is_a_folder(given):
    assert url_of(given) == ""
    assert folder_of(given) == place_of(given) == Path(given)


@pytest.mark.parametrize("given", ["s3://", "s3:///a", "s3://bucket//a", "s3://bucket/../a", "gcs://b/x", "http://h/x"])
def test_what_is_no_place(given):
    with pytest.raises(ConfigError, match="is no place") as caught:
        url_of(given)
    assert str(caught.value).count("\n") == 0


def test_what_changes_an_index_names_the_way_around():
    with pytest.raises(
        ConfigError, match=r"^'s3://b/x' lies on object storage, .* 'geoindex clone FOLDER s3://b/x'\.$"
    ):
        IndexFolder(Path("s3://b/x"))


def test_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GEOINDEX_CACHE", raising=False)
    assert cache_folder() == tmp_path / "geoindex"
    monkeypatch.setenv("GEOINDEX_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://a")
    one = cache_of("s3://b/x")
    assert one.parent == tmp_path / "own" / "remote"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://b")
    assert cache_of("s3://b/x") != one != cache_of("s3://b/y")
