"""Single images on a GPU: when their pass is recorded, and what happens where it cannot be."""

import copy
import logging
import pickle
from threading import Thread

import numpy as np
import pytest
import torch

from geoindex.encoder import load_encoder, recorded
from geoindex.encoder.check_images import check_batches
from geoindex.encoder.recorded import RECORD_AT, SingleImages
from geoindex.recipe import EncoderRecipe

SPEC = "timm:vit_tiny_patch16_224/random?img_size=32&depth=2&embed_dim=48&num_heads=3"


def image(value):
    return torch.full((1, 3, 4, 4), value, dtype=torch.uint8)


class Pass:
    """A forward pass that counts its calls; its features depend on the pixels."""

    def __init__(self):
        self.calls = 0

    def __call__(self, pixels):
        self.calls += 1
        return torch.stack([pixels.float().mean() + 1, pixels.float().max() * 2 + 1])[None]


class Recording:
    """Plays a pass without calling it: it has one place for pixels and one for features, as a recording has."""

    change = 0.0

    def __init__(self, forward, pixels):
        self.pixels, self.features = pixels.clone(), forward(pixels).clone()
        self.played = 0

    def play(self, pixels):
        self.played += 1
        self.pixels.copy_(pixels)
        self.features.copy_(Pass()(self.pixels))
        self.features[0, 0] += self.change
        return self.features.clone()


@pytest.fixture
def made(monkeypatch):
    """The recordings that were made."""
    recordings = []
    monkeypatch.setattr(recorded, "Recording", lambda *a: recordings.append(Recording(*a)) or recordings[-1])
    return recordings


def test_the_first_images_warm_up_and_the_others_are_played(made):
    forward = Pass()
    single = SingleImages(forward)
    for i in range(RECORD_AT - 1):
        assert torch.equal(single.features(image(i)), Pass()(image(i)))
    assert (forward.calls, made) == (RECORD_AT - 1, [])
    single.features(image(9))
    calls = forward.calls
    for i in range(10, 14):
        assert torch.equal(single.features(image(i)), Pass()(image(i)))
    assert (forward.calls, len(made)) == (calls, 1)


def test_features_are_the_callers_own(made):
    single = SingleImages(Pass())
    found = [single.features(image(i)) for i in range(RECORD_AT + 3)]
    assert [each.tolist() for each in found] == [Pass()(image(i)).tolist() for i in range(RECORD_AT + 3)]


def test_threads_do_not_mix_their_images(made):
    single, found = SingleImages(Pass()), {}

    def ask(i):
        for _ in range(50):
            found[i] = single.features(image(i))

    threads = [Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], Pass()(image(i))) for i in range(8))
    assert len(made) == 1


def check_it_goes_on_without(caplog, reason):
    forward = Pass()
    single = SingleImages(forward)
    with caplog.at_level(logging.INFO, "geoindex"):
        for i in range(RECORD_AT + 4):
            assert torch.equal(single.features(image(i)), Pass()(image(i)))
    (told,) = (record.getMessage() for record in caplog.records)
    assert reason in told
    assert "kernel by kernel" in told


def test_a_pass_that_cannot_be_recorded_is_launched_as_before(monkeypatch, caplog):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors ...")

    monkeypatch.setattr(recorded, "Recording", refuse)
    check_it_goes_on_without(caplog, "(operation not permitted when stream is capturing)")


@pytest.mark.parametrize("change", [40.0, float("nan")])
def test_a_recording_with_other_features_is_not_used(made, monkeypatch, caplog, change):
    monkeypatch.setattr(Recording, "change", change)
    check_it_goes_on_without(caplog, "its features have cosine")


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_makes_its_own_recording(made, travel):
    single = SingleImages(Pass())
    for i in range(RECORD_AT):
        single.features(image(i))
    other = travel(single)
    for i in range(RECORD_AT):
        assert torch.equal(other.features(image(i)), Pass()(image(i)))
    assert len(made) == 2


def test_a_torch_that_loses_its_memory_over_it_records_nothing(monkeypatch):
    for version, wanted in (("2.9.1", False), ("2.12.0", False), ("2.13.0+cu130", True), ("3.0.0", True)):
        monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
        assert recorded.can_record() == wanted


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_real_recording_has_the_features_of_the_pass(dtype):
    encoder = load_encoder(SPEC, EncoderRecipe(device="cuda", dtype=dtype))
    pixels = check_batches(encoder.image_size)[-1][:8]
    together = encoder.features(pixels)
    for round_ in range(RECORD_AT):
        there = [encoder.features_there(one[None]) for one in pixels]  # each its own, whatever is played next
        alone = np.concatenate([one.cpu().numpy() for one in there])
        cosine = (alone * together).sum(1) / np.linalg.norm(alone, axis=1) / np.linalg.norm(together, axis=1)
        assert cosine.min() > 0.999, round_
    assert encoder._backbone._single._recording is not None
