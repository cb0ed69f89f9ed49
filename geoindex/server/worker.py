"""The one thread that encodes: it takes what has gathered, and answers each query with its own options."""

import threading
from collections import defaultdict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.device import to_host
from geoindex.live import LiveSnapshot
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.querying import BATCH_IMAGES, Features, PreparedQuery, answer_features, embed_features, encode_queries
from geoindex.search.options import QueryOptions
from geoindex.server.metrics import Metrics
from geoindex.snapshot import Snapshot

Answer: TypeAlias = "Prediction | NDArray[np.float32]"


@dataclass(slots=True, eq=False)
class Job:
    """A query that waits for its answer.

    Attributes:
        query: its pixels.
        options: how to answer; None: what is wanted is its embedding, (dim,).
        answer: where the answer goes.
        queued_s: when it began to wait, by `perf_counter`.
    """

    query: PreparedQuery
    options: QueryOptions | None
    answer: "Future[Answer]" = field(default_factory=Future)
    queued_s: float = field(default_factory=perf_counter)


class Worker:
    """Encodes what has gathered while it was busy, up to `BATCH_IMAGES` photos at a time; it never waits for more."""

    def __init__(self, live: LiveSnapshot, metrics: Metrics) -> None:
        self._live, self._metrics = live, metrics
        self._jobs, self._changed, self._closed = deque[Job](), threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="geoindex-worker", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> "Future[Answer]":
        """Put a job behind those that wait."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while self._wait():
            batch = self._take()
            try:
                self._answer(batch)
            except Exception as error:
                _fail(batch, error)

    def _wait(self) -> bool:
        """Wait for a job; tell whether there is one, which is not so at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return bool(self._jobs)

    def _take(self) -> list[Job]:
        """Return what is encoded next, all for one encoder; jobs that nobody waits for any more are dropped."""
        batch: list[Job] = []
        images = 0
        with self._changed:
            while self._jobs and (not batch or _fits(self._jobs[0].query, batch[0].query, images)):
                job = self._jobs.popleft()
                if job.answer.set_running_or_notify_cancel():
                    batch.append(job)
                    images += len(job.query.pixels)
        return batch

    def _answer(self, batch: list[Job]) -> None:
        if not batch:
            return
        taken_s, stages = perf_counter(), Stages()
        features = encode_queries([job.query for job in batch], stages)
        self._metrics.batch_images.observe(sum(map(len, features)))
        snapshot = self._live.following(batch[-1].query.snapshot)
        alike: dict[QueryOptions | None, list[tuple[Job, Features]]] = defaultdict(list)
        for job, each in zip(batch, features, strict=True):
            alike[job.options].append((job, each))
        for options, pairs in alike.items():
            share = Stages()
            share.seconds["encode"] = stages.seconds["encode"] * len(pairs) / len(batch)
            _answer_alike(pairs, snapshot, options, share, taken_s)


def _fits(query: PreparedQuery, first: PreparedQuery, images: int) -> bool:
    return query.encoder is first.encoder and images + len(query.pixels) <= BATCH_IMAGES


def _answer_alike(
    pairs: list[tuple[Job, Features]],
    snapshot: Snapshot,
    options: QueryOptions | None,
    stages: Stages,
    taken_s: float,
) -> None:
    """Answer jobs with the same options; what is not valid fails them alone."""
    jobs, features = [job for job, _ in pairs], [each for _, each in pairs]
    try:
        if options is None:
            answers: list[Answer] = [*to_host(embed_features(features, snapshot, stages))]
        else:
            predictions = answer_features(features, snapshot, options, stages)
            answers = [_timed(p, job, taken_s) for p, job in zip(predictions, jobs, strict=True)]
    except Exception as error:
        _fail(jobs, error)
        return
    for job, answer in zip(jobs, answers, strict=True):
        job.answer.set_result(answer)


def _timed(prediction: Prediction, job: Job, taken_s: float) -> Prediction:
    """Put the times of the job itself before those that it shares."""
    own = job.query.stages.milliseconds() | {"queue": round(1000.0 * (taken_s - job.queued_s), 3)}
    return replace(prediction, timings_ms=own | dict(prediction.timings_ms))


def _fail(jobs: list[Job], error: Exception) -> None:
    for job in jobs:
        if not job.answer.done():
            job.answer.set_exception(error)
