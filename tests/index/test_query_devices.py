"""Queries whose encoder is on a GPU: the vector stays there until candidates are ranked, and answers are the same.

Where there is no GPU, the processor stands in for one: the encoder leaves its features in torch, and torch ranks them.
"""

import numpy as np
import pytest
import torch
from tiles import PHOTOS, TINY_ENCODER

import geoindex
from geoindex.encoder import Encoder, Projection, load_encoder
from geoindex.encoder.device_projection import project
from geoindex.errors import EncoderError
from geoindex.recipe import EncoderRecipe
from geoindex.search import device_ranker
from geoindex.search.device_ranker import DeviceRanker
from geoindex.search.posterior import Breadth
from geoindex.search.searcher import Searcher
from geoindex.snapshot import OwnEncoder
from geoindex.store.tombstones import Tombstones


@pytest.fixture
def gpu_encoder(monkeypatch):
    """An encoder that leaves its features in torch."""
    encoder = load_encoder(TINY_ENCODER, EncoderRecipe(device="cpu"))
    monkeypatch.setattr(Encoder, "on_gpu", property(lambda own: own is encoder))
    return encoder


@pytest.fixture
def asked(monkeypatch, gpu_encoder):
    """What was ranked where that encoder is: on the processor, which calls itself a GPU."""
    queries, rank_on = [], Searcher.rank_on

    def record(self, device, embeddings, breadth):
        queries.append((device, embeddings))
        return rank_on(self, "cpu", embeddings, breadth)

    place = property(lambda own: "cuda:0" if own._loaded is gpu_encoder else "cpu")
    monkeypatch.setattr(OwnEncoder, "place", place)
    monkeypatch.setattr(Searcher, "rank_on", record)
    return queries


@pytest.fixture
def there(built, gpu_encoder, asked):
    """The index of the world, on that device."""
    return geoindex.open_index(built.path, encoder=gpu_encoder)


def check_alike(own, wanted):
    assert (own.lat, own.lon) == pytest.approx((wanted.lat, wanted.lon), abs=1e-3)
    assert own.radius_km == pytest.approx(wanted.radius_km, rel=1e-3)
    assert {c.cluster for c in own.candidates} == {c.cluster for c in wanted.candidates}
    assert [e.id for e in own.evidence] == [e.id for e in wanted.evidence]


def test_a_photo_stays_there_until_it_is_ranked(index, there, asked):
    for photo in PHOTOS:
        check_alike(there.query_image(photo), index.query_image(photo))
    assert all(isinstance(query, torch.Tensor) for _, query in asked)
    assert len(asked) == len(PHOTOS)


def test_batches_too(index, there, asked):
    many = PHOTOS * 6
    for own, wanted in zip(there.query_images(many), index.query_images(many), strict=True):
        check_alike(own, wanted)
    assert sum(len(query) for _, query in asked) == len(many)
    assert all(isinstance(query, torch.Tensor) for _, query in asked)


def test_views_and_embeddings_come_from_here(index, there, asked):
    check_alike(there.query_views(PHOTOS[:3]), index.query_views(PHOTOS[:3]))
    embeddings = index.projection.apply(index.encoder.encode(PHOTOS))
    for own, wanted in zip(there.query_embeddings(embeddings), index.query_embeddings(embeddings), strict=True):
        check_alike(own, wanted)
    assert all(isinstance(query, np.ndarray) for _, query in asked)


def test_a_region_is_ranked_by_the_processor(index, there, asked):
    box = (-60.0, -60.0, 60.0, 60.0)
    check_alike(there.query_image(PHOTOS[0], within=box), index.query_image(PHOTOS[0], within=box))
    assert asked == []


def test_removed_photos_are_in_no_answer_there(index_folder, gpu_encoder, asked):
    found = geoindex.open_index(index_folder, encoder=gpu_encoder)
    gone = found.query_image(PHOTOS[0]).evidence[0].id
    found.remove([gone])
    assert gone not in [e.id for e in found.query_image(PHOTOS[0], evidence=10).evidence]


def test_what_is_left_without_some_photos_takes_the_same_copies(index):
    searcher = Searcher(index.searcher.sidecar, index.searcher.ranker)
    query = np.eye(searcher.ann.dim, dtype=np.float32)[:1]
    (before,) = searcher.rank_on("cpu", query, Breadth(3))
    gallery = searcher.sidecar.gallery
    ids = gallery.ids()
    gone = frozenset(ids[row] for row in gallery.members(int(before.clusters[0])).tolist())
    left = searcher.without(Tombstones(gone))
    assert left.devices["cpu"]._copies is searcher.devices["cpu"]._copies
    (after,) = left.rank_on("cpu", query, Breadth(3))
    assert before.clusters[0] not in after.clusters


def test_embeddings_are_ranked_where_the_encoder_would_be(tmp_path, monkeypatch):
    geoindex.build_index("planted:300?dim=16&seed=0", out=tmp_path / "index", training={"method": "none"})
    query = np.eye(16, dtype=np.float32)[:2]
    places: list[str] = []
    monkeypatch.setattr(Searcher, "rank_on", lambda self, device, *a: places.append(device) or self.rank(*a))
    monkeypatch.setattr("geoindex.snapshot.may_have_cuda", lambda: True)
    monkeypatch.setattr(
        "geoindex.snapshot.choose_device", lambda name: torch.device("cuda" if name == "auto" else name)
    )
    for device in ("auto", "cpu", "cuda:1"):
        assert len(geoindex.open_index(tmp_path / "index", device=device).query_embeddings(query)) == 2
    geoindex.open_index(tmp_path / "index", backend="onnx").query_embeddings(query)  # which computes on the processor
    assert places == ["cuda", "cuda:1"]
    monkeypatch.setattr("geoindex.snapshot.may_have_cuda", lambda: False)
    geoindex.open_index(tmp_path / "index").query_embeddings(query)
    assert len(places) == 2


def test_the_copy_is_made_once(index, monkeypatch):
    made = []
    on = DeviceRanker.on
    monkeypatch.setattr(device_ranker.DeviceRanker, "on", lambda *a: made.append(a[0]) or on(*a))
    searcher = Searcher(index.searcher.sidecar, index.searcher.ranker)
    query = np.eye(searcher.ann.dim, dtype=np.float32)[:1]
    for _ in range(3):
        searcher.rank_on("cpu", query, Breadth(3))
    assert made == ["cpu"]


def test_the_projection_there_is_that_here():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((20, 12)).astype(np.float32) * 3
    features[3] = 0.0
    plain, scaled = Projection.identity(12), Projection(np.zeros(12, np.float32), np.eye(12, dtype=np.float32) * 1e30)
    other = Projection(features.mean(0), rng.standard_normal((12, 5)).astype(np.float32))
    for projection in (plain, scaled, other):
        found = project(projection, torch.from_numpy(features))
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), projection.apply(features), atol=1e-6)
        np.testing.assert_array_equal(project(projection, features), projection.apply(features))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(project(other, torch.from_numpy(features)), found)
    with pytest.raises(EncoderError, match=r"features \(N, 12\), not \(2, 3\)"):
        project(other, torch.zeros(2, 3))


def test_a_full_gpu_projects_here(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr("geoindex.encoder.device_projection._there", full)
    features = np.ones((2, 3), np.float32)
    found = project(Projection.identity(3), torch.from_numpy(features))
    np.testing.assert_array_equal(found, Projection.identity(3).apply(features))


class Wrapped:
    """An encoder of a user's own, around another."""

    def __init__(self, encoder):
        self.encoder, self.asked = encoder, 0

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def features(self, batch):
        self.asked += 1
        return self.encoder.features(batch)


def test_an_encoder_of_the_users_own_is_asked_for_its_features(built, index, gpu_encoder):
    own = Wrapped(gpu_encoder)
    check_alike(geoindex.open_index(built.path, encoder=own).query_image(PHOTOS[0]), index.query_image(PHOTOS[0]))
    assert own.asked == 1


def test_many_queries_are_ranked_in_parts(index, monkeypatch):
    searcher = Searcher(index.searcher.sidecar, index.searcher.ranker)
    queries = np.eye(searcher.ann.dim, dtype=np.float32)[:9]
    whole = searcher.rank_on("cpu", queries, Breadth(3))
    monkeypatch.setattr(device_ranker, "CHUNK_BYTES", 2 * device_ranker.CELL_BYTES * searcher.ann.n_cells)
    widths, rank = [], DeviceRanker._rank
    monkeypatch.setattr(DeviceRanker, "_rank", lambda own, q, *a: widths.append(len(q)) or rank(own, q, *a))
    parts = searcher.rank_on("cpu", queries, Breadth(3))
    assert widths == [2, 2, 2, 2, 1]
    assert [one.clusters.tolist() for one in parts] == [one.clusters.tolist() for one in whole]


@pytest.mark.gpu
def test_a_real_gpu_answers_as_the_processor_does(index, built):
    encoder = load_encoder(TINY_ENCODER, EncoderRecipe(device="cuda", dtype="float32"))
    found = geoindex.open_index(built.path, encoder=encoder)
    for _ in range(4):  # from the third on, single images are a recording
        for photo in PHOTOS:
            check_alike(found.query_image(photo), index.query_image(photo))
    for own, wanted in zip(found.query_images(PHOTOS * 6), index.query_images(PHOTOS * 6), strict=True):
        check_alike(own, wanted)
