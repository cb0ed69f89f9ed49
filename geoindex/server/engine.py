"""Images in, predictions out, for many callers at a time: bounded, batched, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.projection import check_units
from geoindex.errors import DeadlineError, RequestError, UnavailableError
from geoindex.images import ImageLimits
from geoindex.index import GeoIndex
from geoindex.lookahead import available_cores
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.querying import prepare_query
from geoindex.search.options import QueryOptions
from geoindex.server.admission import Admission
from geoindex.server.metrics import Metrics
from geoindex.server.policy import allowed_answer, allowed_options
from geoindex.server.settings import ServerSettings
from geoindex.server.worker import Answer, Job, Worker

T = TypeVar("T")


class Engine:
    """Answers from an open index. Its coroutines belong to one event loop.

    Example::

        with engine.admit():
            prediction = await engine.predict([data], QueryOptions())

    Attributes:
        index: what answers.
        settings: what is allowed.
        metrics: what is counted.
    """

    def __init__(self, index: GeoIndex, settings: ServerSettings) -> None:
        self.index, self.settings, self.metrics = index, settings, Metrics()
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_pixels)
        self._requests = Admission(settings.max_waiting, "requests", self.metrics.requests_under_way)
        self._batches = Admission(settings.max_batches, "batches", self.metrics.batches_under_way)
        self._closed = False
        self._threads = ThreadPoolExecutor(available_cores(), "geoindex-prepare")
        self._worker = Worker(index.live, self.metrics)

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return not self._closed

    def close(self) -> None:
        """Take no more requests, and answer those that were admitted."""
        self._closed = True
        self._threads.shutdown()
        self._worker.close()

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for a request, from before its body is read until it is answered.

        Raises:
            OverloadedError: if all are taken.
            UnavailableError: if the server is stopping.
        """
        with self._place(self._requests):
            yield

    @contextmanager
    def admit_batch(self) -> Iterator[None]:
        """Hold a place for a batch; it asks for `BATCH_IMAGES` answers at a time, and needs no other place for them.

        Raises:
            OverloadedError: if all are taken.
            UnavailableError: if the server is stopping.
        """
        with self._place(self._batches):
            yield

    @contextmanager
    def _place(self, admission: Admission) -> Iterator[None]:
        if self._closed:
            raise UnavailableError("The server is stopping; ask again.", headers={"Retry-After": "5"})
        with admission.place():
            yield

    async def predict(self, images: Sequence[bytes], options: QueryOptions) -> Prediction:
        """Say where photos of one place were taken; call it inside `admit`.

        Raises:
            UnreadableImageError: if one cannot be decoded.
            ConfigError: if an option is not valid.
            RequestError: if one is not allowed.
            DeadlineError: if it takes too long.
        """
        allowed = allowed_options(options, self.settings)
        prediction = cast(Prediction, await self._by_deadline(self._ask(images, allowed)))
        return self._told(prediction, options)

    def _told(self, prediction: Prediction, options: QueryOptions) -> Prediction:
        for step, ms in prediction.timings_ms.items():
            self.metrics.steps_ms.labels(step).inc(ms)
        self.metrics.generation.set(int(prediction.generation))
        return allowed_answer(prediction, options, self.settings)

    async def embed(self, image: bytes) -> NDArray[np.float32]:
        """Return the embedding of a photo, (dim,), a unit vector; call it inside `admit`.

        Raises:
            UnreadableImageError: if it cannot be decoded.
            DeadlineError: if it takes too long.
        """
        return cast("NDArray[np.float32]", await self._by_deadline(self._ask([image], None)))

    async def query_embedding(self, embedding: NDArray[np.float32], options: QueryOptions) -> Prediction:
        """Answer a query that is an embedding already, a unit vector (dim,); call it inside `admit`.

        Raises:
            RequestError: if it has another length than the index's, or an option is not allowed.
            ConfigError: if it is no unit vector, or an option is not valid.
            DeadlineError: if it takes too long.
        """
        allowed = allowed_options(options, self.settings)
        return self._told(await self._by_deadline(self.in_thread(self._search, embedding, allowed)), options)

    def _search(self, embedding: NDArray[np.float32], options: QueryOptions) -> Prediction:
        snapshot = self.index.live.get()
        dim = snapshot.manifest.dim
        if embedding.shape != (dim,):
            raise RequestError(f"The embedding has {embedding.size} numbers; this index needs {dim}.", status=422)
        check_units(embedding[None])
        return snapshot.answer(embedding[None], options, Stages())[0]

    async def _ask(self, images: Sequence[bytes], options: QueryOptions | None) -> Answer:
        return await asyncio.wrap_future(await self.in_thread(self._submit, images, options))

    def _submit(self, images: Sequence[bytes], options: QueryOptions | None) -> "Future[Answer]":
        """Decode photos and queue them, in one go: when these threads have ended, all is with the worker."""
        snapshot = self.index.live.get()
        if not snapshot.manifest.encoder["spec"]:
            raise RequestError("This index was built from embeddings; send an embedding.", status=422)
        return self._worker.submit(Job(prepare_query(images, snapshot, self._limits), options))

    async def in_thread(self, work: Callable[..., T], *given: object) -> T:
        """Do other work beside the event loop, in the threads that decode photos."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    async def _by_deadline(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                return await work
        except TimeoutError as error:
            raise DeadlineError(
                f"No answer in {self.settings.deadline_s:g} s; the server has too much to do: ask again later."
            ) from error
