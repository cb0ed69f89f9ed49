import logging
import time

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError

from geoindex.encoder import load_encoder
from geoindex.encoder.backbone import RemoteWeights
from geoindex.encoder.hub import fetch_weights
from geoindex.errors import WeightsNotFoundError

WEIGHTS = RemoteWeights("someone/model", ("a.safetensors", "b.bin"))


class Missing(EntryNotFoundError):
    def __init__(self):
        Exception.__init__(self, "no entry")


class Size:
    size = 123_400_000


@pytest.fixture
def hub(monkeypatch):
    """A hub with an empty cache; its parts can be replaced by name."""

    def replace(**parts):
        for name, part in parts.items():
            monkeypatch.setattr(huggingface_hub, name, part)

    def never(*_, **__):
        pytest.fail("the network was asked")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    replace(try_to_load_from_cache=lambda *_, **__: None, get_hf_file_metadata=never, hf_hub_download=never)
    return replace


def test_the_cache_comes_first(hub, tmp_path):
    hub(try_to_load_from_cache=lambda _, file, **__: str(tmp_path / file) if file == "b.bin" else None)
    assert fetch_weights(WEIGHTS, "timm:m") == tmp_path / "b.bin"


def test_a_download_is_announced_with_its_size(hub, tmp_path, caplog):
    def download(_repo, file, **_):
        assert "123 MB" in caplog.text
        return str(tmp_path / file)

    def metadata(url, **_):
        if url.endswith("a.safetensors"):
            raise Missing
        return Size

    hub(get_hf_file_metadata=metadata, hf_hub_download=download)
    with caplog.at_level(logging.INFO):
        assert fetch_weights(WEIGHTS, "timm:m") == tmp_path / "b.bin"
    assert "Downloading someone/model/b.bin (123 MB)" in caplog.text


def test_a_closed_network_is_asked_once_and_named(hub):
    asked = []

    def metadata(url, timeout, **_):
        asked.append(timeout)
        raise OSError("Name or service not known")

    hub(get_hf_file_metadata=metadata)
    with pytest.raises(WeightsNotFoundError, match=r"Name or service not known.*--weights FILE") as caught:
        fetch_weights(WEIGHTS, "timm:m")
    assert "timm:m" in str(caught.value)
    assert asked == [5.0]


def test_offline_never_asks(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsNotFoundError, match="HF_HUB_OFFLINE"):
        fetch_weights(WEIGHTS, "timm:m")


def test_a_repository_without_the_files(hub):
    def metadata(*_, **__):
        raise Missing

    hub(get_hf_file_metadata=metadata)
    with pytest.raises(WeightsNotFoundError, match=r"none of a\.safetensors, b\.bin"):
        fetch_weights(WEIGHTS, "timm:m")


def test_weights_with_an_address_only():
    with pytest.raises(WeightsNotFoundError, match=r"https://example\.org/w\.pt"):
        fetch_weights(RemoteWeights("", (), url="https://example.org/w.pt"), "timm:m")


@pytest.mark.parametrize("spec", ["timm:deit_tiny_patch16_224", "open_clip:ViT-B-32/laion2b_s34b_b79k"])
def test_both_libraries_go_through_the_hub(hub, monkeypatch, spec):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(WeightsNotFoundError, match=r"not in the local cache"):
        load_encoder(spec)
    assert time.monotonic() - start < 10
