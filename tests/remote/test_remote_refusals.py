"""What cannot be done is one sentence that names the cure."""

import sys

import pytest

import geoindex
from geoindex.errors import (
    ConfigError,
    IndexNotFoundError,
    MissingExtraError,
    StorageError,
    UnreachableError,
)
from geoindex.integrity import verify_index
from geoindex.store import objects as layer
from geoindex.transfer import clone_index, import_index


def refused(kind, words, action):
    with pytest.raises(kind, match=words) as caught:
        action()
    assert str(caught.value).count("\n") == 0
    assert str(caught.value).endswith(".")


def actions(url, folder):
    """What reads and what writes."""
    return [
        lambda: geoindex.open_index(url),
        lambda: verify_index(url),
        lambda: clone_index(folder, url),
        lambda: geoindex.build_index(
            "planted:120?dim=8", out=url, training={"method": "none"}, geocells={"n_cells": 3}
        ),
    ]


def test_a_missing_bucket(service, built):
    for action in actions("s3://missing-bucket/x", built.path):
        refused(StorageError, "^There is no bucket 'missing-bucket' for 's3://missing-bucket/x'; make it, or", action)


def test_nothing_there(url, tmp_path):
    for action in (geoindex.open_index, verify_index, geoindex.rebuild_index):
        refused(IndexNotFoundError, f"^No index at '{url}'; build one with", lambda action=action: action(url))
    refused(IndexNotFoundError, "^No index at", lambda: clone_index(url, tmp_path / "index"))
    assert not (tmp_path / "index").exists()


def test_wrong_credentials(url, built, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    for action in actions(url, built.path):
        refused(StorageError, rf"^'{url}' must not be .*403 .*; look after AWS_ACCESS_KEY_ID, ", action)


def test_no_credentials(url, built, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    # where a machine of the service would find its credentials
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9/169.254.169.254")
    monkeypatch.setattr(layer, "RETRIES", 0)
    refused(StorageError, "^No credentials for .* set AWS_ACCESS_KEY_ID", lambda: geoindex.open_index(url))


def test_an_account_of_azure_has_a_name(service, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    refused(StorageError, "^No credentials for 'az://c/x' .*AZURE_STORAGE", lambda: geoindex.open_index("az://c/x"))


def test_an_endpoint_without_tls(url, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    refused(StorageError, "cannot be reached with these settings .*AWS_ALLOW_HTTP", lambda: geoindex.open_index(url))


def test_a_service_that_is_away(url, built, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(layer, "RETRIES", 1)
    for action in actions(url, built.path):
        refused(UnreachableError, rf"^'{url}' does not answer \(.*\); look after the network, and try again\.$", action)


def test_a_service_that_stays_busy(published, service, monkeypatch):
    monkeypatch.setattr(layer, "RETRIES", 1)
    service.busy_every = 1
    refused(UnreachableError, "does not answer .503 Service", lambda: geoindex.open_index(published))


def test_a_missing_extra(monkeypatch, run):
    for name in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    refused(MissingExtraError, r"pip install 'geoindex\[objects\]'", lambda: geoindex.open_index("s3://b/x"))
    code, out, err = run("verify", "s3://b/x")
    assert (code, out, err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("url", ["s3://", "gcs://b/x", "http://host/x", "s3://b/../x"])
def test_bad_urls(url, run, photo):
    for command in (["query", photo, "--index", url], ["build", "planted:100?dim=8", "--out", url], ["verify", url]):
        code, out, err = run(*command)
        assert (code, out, err.count("\n")) == (2, "", 1), err


IN_PLACE = [
    ["add", "URL", "photos"],
    ["remove", "URL", "id"],
    ["compact", "URL"],
    ["gc", "URL"],
    ["rollback", "URL"],
    ["repair", "URL"],
    ["generations", "URL"],
    ["export", "URL", "a.tar"],
    ["train", "photos", "--out", "URL"],
    ["table1", "--source", "photos", "--out", "URL"],
    ["geocells", "photos", "--out", "URL"],
    ["demo", "--out", "URL"],
]


@pytest.mark.parametrize("command", IN_PLACE, ids=lambda command: command[0])
def test_what_is_done_in_folders_alone(command, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*["s3://b/x" if word == "URL" else word for word in command])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'geoindex clone s3://b/x FOLDER'" in err
    assert list(tmp_path.iterdir()) == []


def test_an_archive_is_not_unpacked_there(built, tmp_path):
    archive = tmp_path / "a.tar"
    geoindex.export_index(built.path, archive)
    with pytest.raises(ConfigError, match="lies on object storage"):
        import_index(archive, "s3://b/x")


def test_what_is_open_is_not_changed_in_the_cache(published):
    opened = geoindex.open_index(published)
    for change in (lambda: opened.remove(["x"]), lambda: opened.add("photos"), opened.rebuild):
        refused(ConfigError, "lies on object storage", change)
