"""How near does a server come to `query_images`, with many clients at a time, and what happens to its memory?

    python benchmarks/serve.py [--quick] [--index DIR] [--backend auto] [--json FILE]

A process answers the photos with `query_images`; another one, `geoindex serve`, answers them over HTTP, one request a
photo, to clients of a third process that each wait for an answer before they ask again. All share the cores of this
machine; they take turns, several times. The index is one of Im2GPS3k with DeiT-tiny, which takes a minute to build,
unless --index names another; without the folder of real data it is the synthetic Earth with an untrained encoder.
"""

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from machine import describe_machine, shared_folder

import geoindex

CLIENTS, REQUESTS, ROUNDS = 64, 1000, 5
QUICK_REQUESTS, QUICK_ROUNDS = 320, 3
spawn = multiprocessing.get_context("spawn")


@dataclass
class Load:
    """What clients saw of one round.

    Attributes:
        seconds: from the first request to the last answer.
        statuses: answers by status.
        latencies_ms: time of each answered request.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)


def request_of(photo: bytes) -> bytes:
    """Return a whole request for a photo."""
    head = (
        "POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(photo)}\r\n\r\n"
    )
    return head.encode() + photo


async def answer_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bytes]:
    """Send a request and return status and body of its answer."""
    writer.write(request)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(size)


async def load(port: int, requests: list[bytes], clients: int) -> Load:
    """Send every request once, over some connections at a time; one that is refused for now is sent again."""
    seen, todo = Load(), iter(requests)

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in todo:
            status = 0
            while status != 200:
                started = perf_counter()
                status, _ = await answer_of(reader, writer, request)
                seen.statuses[status] += 1
                if status == 429:
                    await asyncio.sleep(0.05)
                elif status != 200:
                    break
            seen.latencies_ms.append(1000 * (perf_counter() - started))
        writer.close()
        await writer.wait_closed()

    started = perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    seen.seconds = perf_counter() - started
    return seen


class Beside:
    """A process that does one work whenever it is told, and gives the result back."""

    def __init__(self, work: Any, *given: Any) -> None:
        self._own, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve_pipe, args=(other, work, given), daemon=True)
        self._process.start()
        self._own.recv()

    def __call__(self) -> Any:
        """Do it once."""
        self._own.send(True)
        return self._own.recv()

    def close(self) -> None:
        """End the process."""
        self._own.send(False)
        self._process.join()


def _serve_pipe(pipe: Any, work: Any, given: tuple[Any, ...]) -> None:
    do = work(*given)
    pipe.send("ready")
    while pipe.recv():
        pipe.send(do())


def answering(path: Path, backend: str, photos: list[bytes]) -> Any:
    """Return what answers all photos with `query_images` and gives the seconds that it took."""
    index = geoindex.open_index(path, backend=backend)
    list(index.query_images(photos[:32]))

    def answer() -> float:
        started = perf_counter()
        for _ in index.query_images(photos):
            pass
        return perf_counter() - started

    return answer


def loading(port: int, photos: list[bytes], clients: int) -> Any:
    """Return what sends all photos to a server."""
    requests = [request_of(photo) for photo in photos]
    return lambda: asyncio.run(load(port, requests, clients))


@contextmanager
def served(path: Path, backend: str) -> Any:
    """Run `geoindex serve`; give its process and port."""
    command = [sys.executable, "-m", "geoindex", "serve", "--index", str(path), "--port", "0", "--backend", backend]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        line = next((line for line in server.stderr if "answering at" in line), "")
        yield server, int(line.rpartition(":")[2])
    finally:
        server.terminate()
        if server.wait(60) != 0:
            raise SystemExit(f"The server ended with {server.returncode}.")


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def descriptors(pid: int) -> int:
    """Return how many files and sockets a process holds open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def measure(path: Path, backend: str, photos: list[bytes], rounds: int, clients: int) -> dict[str, Any]:
    """Let library and server answer the photos in turns; the first turn of each is not counted."""
    with served(path, backend) as (server, port):
        library, client = Beside(answering, path, backend, photos), Beside(loading, port, photos, clients)
        seconds, loads, memory = [], [], []
        for _ in range(rounds + 1):
            seconds.append(library())
            loads.append(client())
            memory.append(memory_mib(server.pid))
        held = descriptors(server.pid)
        library.close()
        client.close()
    latencies = np.concatenate([each.latencies_ms for each in loads[1:]])
    shares = [100 * took / each.seconds for took, each in zip(seconds[1:], loads[1:], strict=True)]
    return {
        "query_images, photos/s": len(photos) / median(seconds[1:]),
        "server, photos/s": len(photos) / median(each.seconds for each in loads[1:]),
        "% of query_images": median(shares), "least %": min(shares), "most %": max(shares),
        "p50 ms": float(np.percentile(latencies, 50)), "p95 ms": float(np.percentile(latencies, 95)),
        "p99 ms": float(np.percentile(latencies, 99)),
        "statuses": dict(sum((each.statuses for each in loads), Counter())),
        "memory of the server after each turn, MiB": memory, "descriptors at the end": held,
    }  # fmt: skip


def one_at_a_time(path: Path, backend: str, photos: list[bytes]) -> dict[str, Any]:
    """Return the latencies that a single client sees, beside those of `query_image`."""
    index = geoindex.open_index(path, backend=backend)
    index.query_image(photos[0])
    own_ms = []
    for photo in photos:
        started = perf_counter()
        index.query_image(photo)
        own_ms.append(1000 * (perf_counter() - started))
    with served(path, backend) as (_, port):
        client = Beside(loading, port, photos, 1)
        client()
        seen = client()
        client.close()
    return {
        "query_image, median ms": median(own_ms), "server, median ms": median(seen.latencies_ms),
        "server, p99 ms": float(np.percentile(seen.latencies_ms, 99)),
    }  # fmt: skip


def build(folder: Path, quick: bool) -> Path:
    """Build the index that answers."""
    shared = shared_folder()
    if shared is None:
        print("No folder of real data: the synthetic Earth and an untrained encoder answer instead.")
        encoder = {"encoder": "timm:vit_tiny_patch16_224/random?seed=0"}
        return geoindex.build_index("synthetic:400?seed=0", out=folder, **encoder).path
    keys = {
        "encoder": "timm:deit_tiny_patch16_224", "weights": str(shared / "weights/deit_tiny_patch16_224.safetensors"),
        "split_by": "author", "sample": 600 if quick else None,
    }  # fmt: skip
    return geoindex.build_index(shared / "data/im2gps3k/metadata.csv", out=folder, **keys).path


def photos_of(count: int, folder: Path) -> list[bytes]:
    """Return photos as they would be sent; the same ones again if there are too few."""
    shared = shared_folder()
    if shared is not None:
        files = sorted((shared / "data/im2gps3k").rglob("*.jpg"))
        found = [file.read_bytes() for file in files[:count]]
    else:
        found = synthetic_photos()
    return [found[i % len(found)] for i in range(count)]


def synthetic_photos() -> list[bytes]:
    """Return some scenes of the synthetic Earth as JPEG."""
    from io import BytesIO

    from geoindex.images import load_image
    from geoindex.sources import open_source

    source, files = open_source("synthetic:64?seed=1"), []
    for image in source.scan().samples.images:
        buffer = BytesIO()
        load_image(source.read(image)).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def show(name: str, rows: dict[str, Any]) -> None:
    """Print the figures of one part as Markdown."""
    print(f"\n### {name}\n")
    for key, value in rows.items():
        print(f"- {key}: {value:.1f}" if isinstance(value, float) else f"- {key}: {value}", flush=True)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests and rounds")
    parser.add_argument("--index", type=Path, help="an index that is there already")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count, rounds = (QUICK_REQUESTS, QUICK_ROUNDS) if options.quick else (REQUESTS, ROUNDS)
    figures: dict[str, Any] = {"machine": describe_machine()}
    with TemporaryDirectory() as folder:
        path = options.index or build(Path(folder) / "index", options.quick)
        photos = photos_of(count, Path(folder))
        parts = {
            "one client": lambda: one_at_a_time(path, options.backend, photos[: count // 10]),
            f"{options.clients} clients": lambda: measure(path, options.backend, photos, rounds, options.clients),
        }
        for name, part in parts.items():
            figures[name] = part()
            show(name, figures[name])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
