"""The program as a process of its own, and what it says."""

import os
import subprocess
import sys
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
