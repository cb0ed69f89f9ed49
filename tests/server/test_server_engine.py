"""Many callers at a time: what gathers is encoded together, and each gets its own answer."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiles import HUBS, PHOTOS, error_km

import geoindex
from geoindex.errors import ConfigError, DeadlineError, OverloadedError, UnavailableError, UnreadableImageError
from geoindex.search.options import QueryOptions, query_options
from geoindex.server.engine import Engine
from geoindex.server.settings import ServerSettings


@pytest.fixture
def engine(index):
    engine = Engine(index, ServerSettings())
    yield engine
    engine.close()


@pytest.fixture
def held(index, monkeypatch):
    """Hold every forward pass until told; return the event, and the sizes of the passes."""
    go, sizes, features = threading.Event(), [], index.encoder.features

    def slow(batch):
        sizes.append(len(batch))
        assert go.wait(20)
        return features(batch)

    monkeypatch.setattr(index.encoder, "features", slow)
    yield go, sizes
    go.set()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def test_what_gathers_is_encoded_together_in_order(index, engine, jpegs, held):
    go, sizes = held

    async def ask():
        first = asyncio.create_task(engine.predict(jpegs[:1], QueryOptions()))
        await until(lambda: sizes == [1])
        rest = [asyncio.create_task(engine.predict([jpegs[i % 8]], QueryOptions())) for i in range(40)]
        await until(lambda: len(engine._worker._jobs) == 40)
        go.set()
        return await first, await asyncio.gather(*rest)

    _, answers = asyncio.run(ask())
    assert sizes == [1, 32, 8]
    hubs = list(HUBS.values())
    assert all(error_km(answer, hubs[i % 8]) < 500 for i, answer in enumerate(answers))
    assert all(answer.timings_ms["queue"] > 0 for answer in answers)


def test_views_of_one_place_stay_together(engine, jpegs, held):
    go, sizes = held

    async def ask():
        first = asyncio.create_task(engine.predict(jpegs[:1], QueryOptions()))
        await until(lambda: sizes == [1])
        rest = []
        for count in (8, 8, 8, 7, 2):
            rest.append(asyncio.create_task(engine.predict(jpegs[:1] * count, QueryOptions())))
            await until(lambda: len(engine._worker._jobs) == len(rest))
        go.set()
        await asyncio.gather(first, *rest)

    asyncio.run(ask())
    assert sizes == [1, 31, 2]


def test_each_has_its_own_options_and_errors(index, engine, jpegs, held):
    go, sizes = held
    asked = [{"top_k": 1}, {"within": "0,0,0.001,0.001"}, {"top_k": 3, "rule": "nearest"}, {"top_k": 1}]

    async def ask():
        first = asyncio.create_task(engine.predict(jpegs[:1], QueryOptions()))
        await until(lambda: sizes == [1])
        rest = [asyncio.create_task(engine.predict(jpegs[:1], query_options(each))) for each in asked]
        bad = asyncio.create_task(engine.predict([b"none"], QueryOptions()))
        vector = asyncio.create_task(engine.embed(jpegs[0]))
        await until(lambda: len(engine._worker._jobs) == 5)
        go.set()
        return await asyncio.gather(first, *rest, bad, vector, return_exceptions=True)

    first, one, nowhere, three, other_one, bad, vector = asyncio.run(ask())
    assert [len(a.candidates) for a in (first, one, three, other_one)] == [5, 1, 3, 1]
    assert three.rule == "nearest"
    assert isinstance(nowhere, ConfigError)
    assert isinstance(bad, UnreadableImageError)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert len(sizes) == 2


def test_an_error_of_the_encoder_is_told_to_all_and_the_next_are_answered(index, engine, jpegs, monkeypatch):
    async def ask():
        return await asyncio.gather(
            *(engine.predict(jpegs[:1], QueryOptions()) for _ in range(3)), return_exceptions=True
        )

    with monkeypatch.context() as patch:
        patch.setattr(index.encoder, "features", lambda batch: 1 / 0)
        assert {type(answer) for answer in asyncio.run(ask())} == {ZeroDivisionError}
    assert {type(answer).__name__ for answer in asyncio.run(ask())} == {"Prediction"}


def test_one_too_many_is_refused_at_once(serving, jpegs, held):
    go, _ = held
    with serving(max_waiting=2) as client, ThreadPoolExecutor(3) as pool:
        post = lambda: client.post("/v1/query", files=[("image", jpegs[0])])  # noqa: E731
        busy = [pool.submit(post) for _ in range(2)]
        taken = client.app.state.engine.metrics.requests_under_way
        while taken._value.get() < 2:
            pass
        refused = post()
        go.set()
        assert [each.result().status_code for each in busy] == [200, 200]
        assert post().status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.json()["error"]["type"] == "OverloadedError"


def test_places_are_given_back_whatever_happens(engine):
    async def ask():
        for _ in range(100):
            with pytest.raises(UnreadableImageError), engine.admit():
                await engine.predict([b"none"], QueryOptions())
        with pytest.raises(OverloadedError), engine.admit_batch(), engine.admit_batch(), engine.admit_batch():
            pass

    asyncio.run(ask())
    assert engine.metrics.requests_under_way._value.get() == engine.metrics.batches_under_way._value.get() == 0


def test_a_deadline_ends_the_waiting_and_the_work(index, jpegs, held):
    go, sizes = held
    engine = Engine(index, ServerSettings(deadline_s=0.2))

    async def ask():
        late = [asyncio.create_task(engine.predict(jpegs[:1], QueryOptions())) for _ in range(5)]
        errors = await asyncio.gather(*late, return_exceptions=True)
        go.set()
        return errors

    errors = asyncio.run(ask())
    engine.close()
    assert {type(error) for error in errors} == {DeadlineError}
    assert sum(sizes) < 5


def test_what_was_admitted_is_answered_and_nothing_after(index, jpegs, held):
    go, sizes = held
    engine = Engine(index, ServerSettings())

    async def ask():
        asked = [asyncio.create_task(engine.predict(jpegs[:1], QueryOptions())) for _ in range(5)]
        await until(lambda: sum(sizes) + len(engine._worker._jobs) >= 5)
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        await until(lambda: not engine.ready)
        with pytest.raises(UnavailableError), engine.admit():
            pass
        go.set()
        await closing
        return await asyncio.gather(*asked)

    assert len(asyncio.run(ask())) == 5
    assert not engine._worker._thread.is_alive()


def test_the_next_request_after_a_flip_is_answered_by_the_new_generation(index_folder, serving, jpegs):
    following = geoindex.open_index(index_folder, device="cpu", follow=True)
    with serving(index=following) as client:
        before = client.post("/v1/query", files=[("image", jpegs[0])]).json()
        geoindex.rebuild_index(index_folder)
        after = client.post("/v1/query", files=[("image", jpegs[0])]).json()
        assert client.get("/readyz").json()["generation"] == client.get("/v1/index").json()["generation"] == "000002"
    assert (before["generation"], after["generation"]) == ("000001", "000002")


def test_what_is_counted(serving, jpegs):
    with serving() as client:
        client.post("/v1/query", files=[("image", jpegs[0])])
        client.post("/v1/query", files=[("image", b"none")])
        client.get("/v1/clusters/5")
        client.get("/nowhere/at/all")
        lines = client.get("/metrics").text.splitlines()
    assert 'geoindex_requests_total{method="POST",route="/v1/query",status="200"} 1.0' in lines
    assert 'geoindex_requests_total{method="POST",route="/v1/query",status="422"} 1.0' in lines
    assert 'geoindex_requests_total{method="GET",route="/v1/clusters/{id}",status="200"} 1.0' in lines
    assert 'geoindex_requests_total{method="GET",route="other",status="404"} 1.0' in lines
    assert "geoindex_batch_images_count 1.0" in lines
    assert "geoindex_requests_under_way 0.0" in lines
    assert "geoindex_generation 1.0" in lines
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


def test_photos_of_the_hubs_are_eight(jpegs):
    assert len(jpegs) == len(PHOTOS) == 8
