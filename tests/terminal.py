"""The program as a process of its own, and what it says."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tiles import TINY_ENCODER

import geoindex

ROOT = Path(geoindex.__file__).parents[1]
PROGRAM = "import sys; from geoindex.cli import main; sys.exit(main())"
TINY = ["--encoder", TINY_ENCODER, "--encoding.device", "cpu"]


def program(*arguments, **options):
    """Start geoindex as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True, **options
    )


def sentence(err):
    """Return the one line on stderr, and see that it is one."""
    (line,) = err.splitlines()
    assert line.startswith("geoindex: ")
    assert line.endswith((".", "?"))
    assert "Traceback" not in line
    return line


def wait_for_shards(process, out):
    """Wait until a build has written its first shard, or has ended."""
    deadline = time.monotonic() + 120
    while not list(out.rglob("shard-*.npz")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
