"""The server on a Ray cluster: the same application in several processes behind one address (Ray Serve)."""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from geoindex.distributed.cluster import cluster
from geoindex.errors import ConfigError
from geoindex.index import open_index
from geoindex.progress import Stages
from geoindex.server.running import check_extra, warm_up
from geoindex.server.settings import ServerSettings
from geoindex.store.address import url_of

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "geoindex"
SPARE = 8
"""Requests beside those that are admitted: of health, and those that are refused at once."""


def serve_on_ray(
    index: str | PathLike[str] | None,
    settings: ServerSettings,
    *,
    replicas: int = 2,
    address: str = "",
    device: str = "auto",
    backend: str = "auto",
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer over HTTP from several processes until SIGTERM or Ctrl-C, which let requests under way finish.

    Each process opens the index for itself, so all computers must see its folder or URL; each takes as many requests
    at a time as the settings say. There is no page: what it keeps of a visitor is in one process.

    Args:
        index: folder of the index, or its URL.
        settings: what is allowed.
        replicas: how many processes there are; on a cluster with GPUs each has one, else each has a core.
        address: of the cluster; empty: one that is up, else this machine.
        device: where the encoder computes.
        backend: what computes in it.
        started: called with the address once all replicas answer.

    Raises:
        MissingExtraError: if the extra `serve` or `ray` is not installed.
        ConfigError: if there is to be no replica.
        ClusterError: if the cluster cannot be reached.
        StoreError: if there is no index, or it is damaged.
        KeyboardInterrupt: after an interruption.
    """
    if replicas < 1:
        raise ConfigError(f"replicas is {replicas}; it must be 1 or more.")
    check_extra()
    place = index if index is None or url_of(index) else str(Path(index).absolute())
    open_index(place, device=device, backend=backend)  # what is wrong with it is told here
    with cluster(address, Stages()), _stopping() as stop:
        try:
            port = _start(settings, _replica(settings, place, device, backend), replicas, _needs(device))
            started(f"http://{settings.host}:{port}")
            stop.wait()
        finally:
            _shutdown()


def _replica(
    settings: ServerSettings, index: str | PathLike[str] | None, device: str, backend: str
) -> "Callable[[], FastAPI]":
    def build() -> "FastAPI":
        from geoindex.server.application import create_app

        opened = open_index(index, device=device, backend=backend, follow=True)
        warm_up(opened)
        return create_app(settings, opened)

    return build


def _needs(device: str) -> dict[str, float]:
    """Return what a replica asks for."""
    import ray

    on_gpu = device.partition(":")[0] in ("auto", "cuda") and ray.cluster_resources().get("GPU", 0) >= 1
    return {"num_gpus": 1} if on_gpu else {"num_cpus": 1}


def _start(settings: ServerSettings, build: "Callable[[], FastAPI]", replicas: int, needs: dict[str, float]) -> int:
    """Start the replicas, wait until all answer, and return the port."""
    from ray import serve

    quiet = {"log_level": "ERROR", "enable_access_log": False}  # addresses tell what was asked
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    port = settings.port or _free_port(settings.host)
    serve.start(proxy_location="HeadOnly", http_options={"host": settings.host, "port": port}, logging_config=quiet)
    deployment = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        num_replicas=replicas,
        ray_actor_options=needs,
        max_ongoing_requests=settings.max_waiting + settings.max_batches + SPARE,
        graceful_shutdown_timeout_s=settings.shutdown_timeout_s,
    )
    serve.run(deployment.bind(), name=NAME, route_prefix="/", logging_config=quiet)
    return port


def _free_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        return int(listener.getsockname()[1])


def _shutdown() -> None:
    """Stop what was started; what else Ray Serve runs on the cluster goes on."""
    from ray import serve

    serve.delete(NAME)
    if not serve.status().applications:
        serve.shutdown()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield what is set when a signal says to stop; after Ctrl-C, KeyboardInterrupt at the end."""
    stop, told = threading.Event(), []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGINT in told:
        raise KeyboardInterrupt
