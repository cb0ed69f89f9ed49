"""A server in a process of its own: it starts, bears what comes, moves on, and ends."""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image
from processes import connect, head, read_answer, serve
from requesting import jpeg
from tiles import PHOTOS

import geoindex

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def served(built, tmp_path_factory):
    """A server that bears all that is tried."""
    with serve(built.path, tmp_path_factory.mktemp("served") / "log") as served:
        yield served


def ask(served, body, **kinds):
    """Return status and body of the answer to one request over a connection of its own."""
    with connect(served) as connection, connection.makefile("rb") as file:
        connection.sendall(head(len(body), **kinds) + body)
        return read_answer(file)


class TestStarting:
    def test_an_address_that_is_taken_is_one_sentence(self, run, built):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            code, out, err = run("serve", "--index", built.path, "--port", taken.getsockname()[1])
        assert (code, out) == (2, "")
        assert err.startswith("geoindex: Cannot listen at 127.0.0.1:")
        assert err.endswith("take another --port or --host.\n")

    def test_another_host_needs_a_token(self, run, built):
        code, _, err = run("serve", "--index", built.path, "--host", "0.0.0.0")
        assert (code, "give --token-file" in err) == (2, True)

    def test_without_the_extra_it_is_named(self, run, built, monkeypatch):
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        code, _, err = run("serve", "--index", built.path)
        assert (code, err) == (1, "geoindex: The server needs an extra: pip install 'geoindex[serve]'.\n")

    def test_without_an_index_nothing_is_served(self, run, tmp_path):
        code, _, err = run("serve", "--index", tmp_path / "none", "--port", "0")
        assert (code, err.count("\n")) == (1, 1)

    def test_flags_become_settings(self, run, tmp_path, monkeypatch):
        given = []
        monkeypatch.setattr("geoindex.server.running.serve", lambda *a, **k: given.append((a, k)))
        (tmp_path / "token").write_text("0123456789abcdef\n")
        run(
            "serve", "--index", "x", "--host", "0.0.0.0", "--port", "1", "--token-file", tmp_path / "token",
            "--allow-host", "geo.example.org", "--allow-host", "g", "--max-precision-km", "25", "--max-waiting", "8",
            "--max-image-mb", "2", "--max-megapixels", "3", "--backend", "torch",
        )  # fmt: skip
        ((index, settings), keywords) = given[0]
        assert (str(index), keywords["backend"]) == ("x", "torch")
        assert (settings.token, settings.allowed_hosts) == ("0123456789abcdef", ("geo.example.org", "g"))
        assert (settings.max_precision_km, settings.max_waiting) == (25.0, 8)
        assert (settings.max_image_bytes, settings.max_pixels) == (2 * 2**20, 3_000_000)


@pytest.mark.slow
class TestEnding:
    @pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_it_ends_when_it_is_told_to(self, built, tmp_path, jpegs, sent, code):
        with serve(built.path, tmp_path / "log") as served:
            assert ask(served, jpegs[0])[0] == 200
            assert served.end(sent) == code
            assert "Traceback" not in served.log

    def test_no_request_that_was_accepted_is_lost(self, built, tmp_path):
        """A server says 100 Continue when it reads a request; each that got it must get its answer."""
        outcomes, ended = [], threading.Event()
        photo = jpeg(PHOTOS[0].resize((2000, 2000)))
        with serve(built.path, tmp_path / "log") as served, ThreadPoolExecutor(16) as pool:
            clients = [pool.submit(self.ask_on, served, photo, outcomes, ended) for _ in range(16)]
            time.sleep(3)
            code = served.end()
            ended.set()
            for client in clients:
                client.result()
        answered = sum(status == 200 for _, status in outcomes)
        assert code == 0
        assert answered > 50
        assert [each for each in outcomes if each[0] and each[1] != 200] == []

    def ask_on(self, served, photo, outcomes, ended):
        """Ask over and over; note whether each request was accepted, and the status of its answer."""
        while not ended.is_set():
            accepted, status = False, 0
            try:
                with connect(served) as connection, connection.makefile("rb") as file:
                    connection.sendall(head(len(photo), "image/jpeg", "/v1/query", "Expect: 100-continue"))
                    accepted = file.readline().startswith(b"HTTP/1.1 100")
                    if accepted:
                        file.readline()
                        connection.sendall(photo)
                        status, _ = read_answer(file)
            except OSError:
                pass
            outcomes.append((accepted, status))


@pytest.mark.slow
class TestBearing:
    def test_ten_thousand_ways_of_being_no_photo_leave_nothing_behind(self, served, jpegs):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda seed: self.send_bad(served, seed, 100), range(20)))
            memory_mib, descriptors = served.memory_mib(), len(served.descriptors())
            statuses = list(chain.from_iterable(pool.map(lambda seed: self.send_bad(served, seed, 250), range(40))))
        assert len(statuses) == 10_000
        assert set(statuses) <= {0, 400, 413, 415, 422, 429}
        assert ask(served, jpegs[0])[0] == 200
        time.sleep(0.5)
        assert served.memory_mib() < memory_mib + 30
        assert len(served.descriptors()) <= descriptors + 8
        assert "Traceback" not in served.log

    def send_bad(self, served, seed, count):
        """Send bodies that are no photos, over a connection each; return the statuses of the answers."""
        rng, photo, statuses = random.Random(seed), jpeg(PHOTOS[seed % 8]), []
        for number in range(count):
            kind, body, missing = self.bad_body(rng, photo, number % 5)
            with connect(served) as connection, connection.makefile("rb") as file:
                connection.sendall(head(len(body) + missing, kind) + body)
                if missing:
                    connection.shutdown(socket.SHUT_WR)
                statuses.append(read_answer(file)[0])
        return statuses

    def bad_body(self, rng, photo, way):
        """Return the type of a body, the body, and how many bytes of it never come."""
        if way == 0:
            return "image/jpeg", rng.randbytes(rng.randrange(1, 5000)), 0
        if way == 1:
            return "image/png", b"no" + photo[2:], 0
        if way == 2:
            return "multipart/form-data; boundary=x", b"--x\r\n" + rng.randbytes(rng.randrange(300)), 0
        if way == 3:
            return rng.choice(["text/html", "multipart/form-data", "application/json"]), photo, 0
        return "image/jpeg", photo[: rng.randrange(1, len(photo))], rng.randint(1, 500)

    def test_a_slow_upload_is_cut_off(self, served):
        with connect(served) as connection, connection.makefile("rb") as file:
            connection.sendall(head(10_000))
            started = time.monotonic()
            sending = threading.Thread(target=self.drip, args=(connection,), daemon=True)
            sending.start()
            status, body = read_answer(file)
            assert (status, "too slowly" in body.decode()) == (408, True)
            assert 10 < time.monotonic() - started < 25
            assert file.read() == b""

    def drip(self, connection):
        try:
            while True:
                connection.sendall(b"x")
                time.sleep(0.2)
        except OSError:
            pass

    def test_no_photo_is_written_anywhere(self, served):
        photo = jpeg(Image.effect_noise((1800, 1800), 90))
        form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + photo + b"\r\n--x--\r\n"
        before, count = served.written_bytes(), 20
        for _ in range(count):
            assert ask(served, form, kind="multipart/form-data; boundary=x")[0] == 200
        assert len(photo) > 2_000_000
        assert served.written_bytes() - before < len(photo)
        assert not [name for name in served.descriptors() if "(deleted)" in name]

    def test_what_is_no_http_is_refused_like_everything_else(self, served):
        with connect(served) as connection, connection.makefile("rb") as file:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: " + b"x" * 200_000)
            status, body = read_answer(file)
        assert (status, json.loads(body)["error"]["type"]) == (400, "RequestError")

    def test_a_head_that_never_ends_is_cut_off(self, served):
        with connect(served) as silent, connect(served) as dripping:
            dripping.sendall(b"GET /healthz HTTP/1.1\r\n")
            started = time.monotonic()
            assert silent.recv(10) == dripping.recv(10) == b""
            assert 10 < time.monotonic() - started < 25

    def test_silent_connections_do_not_keep_others_out(self, served, jpegs):
        silent = [connect(served) for _ in range(300)]
        assert ask(served, jpegs[0])[0] == 200
        for connection in silent:
            connection.close()


@pytest.mark.slow
def test_the_document_says_what_the_server_does(built, tmp_path):
    """Requests that follow the OpenAPI document, and such that do not, get the answers that it lists."""
    with serve(built.path, tmp_path / "log", "--thumbnails") as served:
        command = [
            Path(sys.executable).parent / "schemathesis", "--config-file", Path(__file__).parent / "schemathesis.toml",
            "run", f"{served.url}/openapi.json", "--max-examples", "60", "--seed", "1",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in served.log


@pytest.mark.slow
def test_a_rebuild_under_load_fails_no_request(built, tmp_path, jpegs):
    index, ended, outcomes = shutil.copytree(built.path, tmp_path / "index"), threading.Event(), []

    def ask_on(number):
        with connect(served) as connection, connection.makefile("rb") as file:
            while not ended.is_set():
                connection.sendall(head(len(jpegs[number])) + jpegs[number])
                status, body = read_answer(file)
                outcomes.append((status, json.loads(body).get("generation")))

    with serve(index, tmp_path / "log") as served, ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(ask_on, number) for number in range(8)]
        for cells in (4, 8, 5):
            geoindex.rebuild_index(index, geocells={"n_cells": cells})
            time.sleep(0.5)
        ended.set()
        for client in clients:
            client.result()
    assert {status for status, _ in outcomes} == {200}
    assert {generation for _, generation in outcomes} == {"000001", "000002", "000003", "000004"}
    assert served.log.count("\n") == 1


@pytest.mark.slow
def test_the_load_of_many_clients_is_borne(tmp_path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, "benchmarks/serve.py", "--quick", "--json", figures]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found = json.loads(figures.read_text())["64 clients"]
    memory = found["memory of the server after each turn, MiB"]
    assert set(found["statuses"]) <= {"200", "429"}
    assert found["most %"] >= 90
    assert memory[-1] < 1.1 * memory[0]
