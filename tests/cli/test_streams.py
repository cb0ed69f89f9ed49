"""The command line: names that a stream cannot encode, and streams that are closed."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from terminal import PROGRAM, ROOT

from geoindex.cli import main
from geoindex.plain import plain_json, plain_name

BYTES = b"\xff\xfe.jpg"


class TestNames:
    """Names of files are any bytes, and streams encode what they can."""

    @pytest.fixture(params=["utf-8", "ascii", "latin-1"])
    def printed(self, request, monkeypatch, built):
        """Return what a query prints to a stream of this encoding."""

        def printed(photos, format):
            stream = io.TextIOWrapper(io.BytesIO(), request.param, errors="strict")
            monkeypatch.setattr(sys, "stdout", stream)
            assert main(["query", *photos, "--index", str(built.path), "--format", format]) == 0
            return stream.buffer.getvalue().decode(request.param)

        return printed

    @pytest.fixture
    def photos(self, photo):
        strange = photo.with_name(os.fsdecode(BYTES))
        shutil.copy(photo, strange)
        return [str(strange), str(shutil.copy(photo, photo.with_name("Köln 東京 🌍.jpg")))]

    def test_every_answer_is_printed_and_is_json(self, photos, printed):
        first, second = [json.loads(line) for line in printed(photos, "jsonl").splitlines()]
        assert first["input"].endswith(r"\xff\xfe.jpg")
        assert second["input"] == photos[1]

    @pytest.mark.parametrize("format", ["table", "csv", "geojson"])
    def test_other_formats(self, photos, printed, format):
        assert r"\xff\xfe.jpg" in printed(photos, format).replace("\\\\", "\\")


def test_json_holds_neither_stray_bytes_nor_numbers_that_are_none():
    name = os.fsdecode(BYTES)
    assert plain_name(name) == r"\xff\xfe.jpg"
    text = plain_json({"name": name, "km": [float("inf"), (float("nan"), 1.5)], "deep": {"x": -float("inf")}})
    assert json.loads(text) == {"name": r"\xff\xfe.jpg", "km": [None, [None, 1.5]], "deep": {"x": None}}
    assert plain_name("Köln") == "Köln"


class TestClosedStreams:
    """A stream that the caller closed is no traceback."""

    def closed(self, redirection, *arguments):
        command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", PROGRAM, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    def test_stdout(self, built):
        done = self.closed(">&-", "info", built.path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_stderr(self, tmp_path):
        done = self.closed("2>&-", "info", tmp_path / "none")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")

    def test_stdin(self, built):
        done = self.closed("<&-", "query", "-", "--index", built.path, "--backend", "torch")
        assert (done.returncode, "it is empty" in done.stderr) == (1, True)

    def test_all(self, built):
        assert self.closed("<&- >&- 2>&-", "info", built.path).returncode == 0
