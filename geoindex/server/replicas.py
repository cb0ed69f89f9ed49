"""The server on a Ray cluster: the same application in several processes behind one address (Ray Serve)."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from geoindex.distributed.cluster import cluster
from geoindex.errors import ClusterError, ConfigError
from geoindex.index import DEFAULT_INDEX, DEFAULT_INDEX_VARIABLE, open_index
from geoindex.progress import Stages
from geoindex.server.running import check_extra, warm_up
from geoindex.server.settings import ServerSettings
from geoindex.signals import noting
from geoindex.store.address import url_of

if TYPE_CHECKING:
    from fastapi import FastAPI

NAME = "geoindex"
LOOK_EVERY_S = 0.2
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
        ConfigError: if there is to be no replica, or more than the cluster has room for.
        ClusterError: if the cluster cannot be reached, Ray Serve already answers there, or a replica cannot start.
        StoreError: if there is no index, or it is damaged.
        KeyboardInterrupt: after an interruption.
    """
    if replicas < 1:
        raise ConfigError(f"replicas is {replicas}; it must be 1 or more.")
    check_extra()
    place = index or os.environ.get(DEFAULT_INDEX_VARIABLE) or DEFAULT_INDEX
    place = url_of(place) or str(Path(place).absolute())
    open_index(place, device=device, backend=backend)  # what is wrong with it is told here
    with cluster(address, Stages()), _stopping() as stop:
        needs = _needs(device, replicas)
        _refuse_others()
        try:
            port = _start(settings, _replica(settings, place, device, backend), replicas, needs)
            _await_replicas(stop)
            if not stop.is_set():
                started(f"http://{settings.host}:{port}")
            stop.wait()
        finally:
            _shutdown()


def _replica(settings: ServerSettings, index: str, device: str, backend: str) -> "Callable[[], FastAPI]":
    def build() -> "FastAPI":
        from geoindex.server.application import create_app

        opened = open_index(index, device=device, backend=backend, follow=True)
        warm_up(opened)
        return create_app(settings, opened)

    return build


def _needs(device: str, replicas: int) -> dict[str, float]:
    """Return what a replica asks for; the cluster must have as much for each."""
    import ray

    there = ray.cluster_resources()
    on_gpu = device.partition(":")[0] in ("auto", "cuda") and there.get("GPU", 0) >= 1
    kind = "GPU" if on_gpu else "CPU"
    if replicas > there.get(kind, 0):
        have = f"{there.get(kind, 0):g} {'GPUs' if on_gpu else 'cores'}"
        raise ConfigError(f"replicas is {replicas}, and the cluster has {have}, one for each; take fewer replicas.")
    return {"num_gpus": 1} if on_gpu else {"num_cpus": 1}


def _refuse_others() -> None:
    """Refuse a cluster on which Ray Serve has applications: they would share an address and a name."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    found = serve.status()
    if found.applications:
        raise ClusterError(
            f"Ray Serve already answers on this cluster ({', '.join(found.applications)}); stop that, or name another "
            "cluster."
        )
    if found.proxies:
        serve.shutdown()  # it has no application, and may listen elsewhere


def _await_replicas(stop: threading.Event) -> None:
    """Wait until all replicas answer, or a signal says to stop."""
    from ray import serve

    while not stop.wait(LOOK_EVERY_S):
        found = serve.status().applications.get(NAME)
        if found is None or found.status in ("NOT_STARTED", "DEPLOYING"):
            continue
        if found.status == "RUNNING":
            return
        said = [found.message, *(each.message for each in found.deployments.values())]
        reason = next((text.strip().splitlines()[-1] for text in said if text.strip()), str(found.status))
        raise ClusterError(
            f"A replica cannot start ({reason.rstrip('.')}); every computer needs geoindex[serve,ray] and sees the "
            "index at the same path."
        )


def _start(settings: ServerSettings, build: "Callable[[], FastAPI]", replicas: int, needs: dict[str, float]) -> int:
    """Have replicas started, and return the port."""
    from ray import serve

    quiet = {"log_level": "ERROR", "enable_access_log": False}  # addresses tell what was asked
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
    target = serve.RunTarget(deployment.bind(), name=NAME, route_prefix="/", logging_config=quiet)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    return port


def _free_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        return int(listener.getsockname()[1])


def _shutdown() -> None:
    """Stop what was started."""
    from ray import serve

    with suppress(Exception):  # it may never have started, or its cluster is gone
        serve.shutdown()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield what is set when a signal says to stop; after Ctrl-C, KeyboardInterrupt at the end."""
    stop, told = threading.Event(), []

    def note(number: int) -> None:
        told.append(number)
        stop.set()

    with noting(note):
        yield stop
    if signal.SIGINT in told:
        raise KeyboardInterrupt
