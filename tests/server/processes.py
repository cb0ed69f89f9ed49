"""A server in a process of its own, and clients that speak to it over sockets."""

import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path


class Served:
    """A running server.

    Attributes:
        process: the process.
        port: where it listens, on the loopback interface.
    """

    def __init__(self, process, port, log):
        self.process, self.port, self._log = process, port, log

    @property
    def url(self):
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        """What it wrote to stderr so far."""
        return self._log.read_text()

    def memory_mib(self):
        """Return its resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def descriptors(self):
        """Return what its files and sockets are."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return [str(each.readlink()) for each in folder.iterdir() if each.is_symlink()]

    def written_bytes(self):
        """Return how much it wrote to files, pipes and sockets."""
        lines = Path(f"/proc/{self.process.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))

    def end(self, sent=signal.SIGTERM):
        """Send a signal and return the exit code."""
        self.process.send_signal(sent)
        return self.process.wait(60)


@contextmanager
def serve(index, log, *flags):
    """Run `geoindex serve` until the context ends."""
    command = [sys.executable, "-m", "geoindex", "serve", "--index", str(index), "--port", "0", "--backend", "torch"]
    with log.open("w") as file:
        process = subprocess.Popen([*command, *flags], stderr=file, stdout=subprocess.DEVNULL)
    try:
        while "answering at" not in log.read_text():
            if process.poll() is not None:
                raise AssertionError(log.read_text())
        yield Served(process, int(log.read_text().rpartition(":")[2]), log)
    finally:
        process.kill()
        process.wait()


def connect(served):
    """Return a socket that is connected to a server."""
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def head(size, kind="image/jpeg", path="/v1/query", *more):
    """Return the head of a request with a body of some bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {size}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(file):
    """Return status and body of the answer that a socket's file gives; status 0 if the connection ended before."""
    first = file.readline()
    if not first:
        return 0, b""
    size = 0
    while (line := file.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    return int(first.split()[1]), file.read(size)
