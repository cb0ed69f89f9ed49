"""What backends import, and what they do not."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_choosing_imports_nothing_heavy():
    code = (
        "import sys; from geoindex.encoder.backends import candidates; candidates('auto', 'cpu', 'auto'); "
        "sys.exit(bool({'torch', 'onnx', 'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_openvino_is_imported_without_telling_its_makers():
    pytest.importorskip("openvino")
    code = """
import os, sys
def fork():
    raise AssertionError("a process was forked")
os.fork = fork
from geoindex.encoder.openvino_graph import silent_openvino
openvino = silent_openvino()
assert openvino.Core().available_devices
from openvino.tools.ovc import telemetry_utils
assert "stub" in telemetry_utils.tm.__name__, telemetry_utils.tm
assert "openvino_telemetry" not in sys.modules
import openvino_telemetry
assert silent_openvino() is openvino and sys.modules["openvino_telemetry"] is openvino_telemetry
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
