"""Images in, predictions out, for many callers at a time: bounded, batched, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from geoindex.errors import DeadlineError, OverloadedError, UnavailableError
from geoindex.images import ImageLimits
from geoindex.index import GeoIndex
from geoindex.lookahead import available_cores
from geoindex.prediction import Prediction
from geoindex.progress import Stages
from geoindex.querying import PreparedQuery, prepare_query
from geoindex.search.options import QueryOptions
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
        self._admitted, self._closed = 0, False
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
        if self._closed:
            raise UnavailableError("The server is stopping; ask again.", headers={"Retry-After": "5"})
        if self._admitted >= self.settings.max_waiting:
            raise OverloadedError(
                f"{self._admitted} requests are under way, which is all that this server takes; ask again.",
                headers={"Retry-After": "1"},
            )
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._admitted += change
        self.metrics.admitted.set(self._admitted)

    async def predict(self, images: Sequence[bytes], options: QueryOptions) -> Prediction:
        """Say where photos of one place were taken; call it inside `admit`.

        Raises:
            UnreadableImageError: if one cannot be decoded.
            ConfigError: if an option cannot be meant.
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
            ModelMismatchError: if it has another length than the index's.
            ConfigError: if it is no unit vector, or an option cannot be meant.
            RequestError: if an option is not allowed.
            DeadlineError: if it takes too long.
        """
        allowed = allowed_options(options, self.settings)
        return self._told(await self._by_deadline(self._in_thread(self._search, embedding, allowed)), options)

    def _search(self, embedding: NDArray[np.float32], options: QueryOptions) -> Prediction:
        snapshot = self.index.live.get()
        return snapshot.answer(embedding[None], options, Stages())[0]

    async def _ask(self, images: Sequence[bytes], options: QueryOptions | None) -> Answer:
        query = await self._in_thread(self._prepare, images)
        return await asyncio.wrap_future(self._worker.submit(Job(query, options)))

    def _prepare(self, images: Sequence[bytes]) -> PreparedQuery:
        return prepare_query(images, self.index.live.get(), self._limits)

    async def _in_thread(self, work: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    async def _by_deadline(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                return await work
        except TimeoutError as error:
            raise DeadlineError(
                f"No answer in {self.settings.deadline_s:g} s; the server has too much to do: ask again later."
            ) from error
