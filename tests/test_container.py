import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from geoindex.cli import app

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def linter():
    return shutil.which("hadolint", path=Path(sys.executable).parent)


@pytest.mark.skipif(linter() is None, reason="hadolint has no wheel for this machine")
def test_the_linter_has_nothing_to_say():
    done = subprocess.run([linter(), ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_packages_are_those_that_the_tests_run_with():
    installs = re.findall(r"pip install [^&\n]*", DOCKERFILE)
    assert len(installs) == 4
    assert all("-c .ci/constraints.txt" in each or "--no-deps" in each for each in installs)
    assert "-c .ci/constraints.txt" in (ROOT / ".ci/run").read_text("utf-8")


def test_both_containers_run_as_somebody_without_rights():
    for target in ("gpu", "cpu"):
        last = DOCKERFILE.split(f"FROM server AS {target}\n")[1].split("\nFROM ")[0].strip().splitlines()[-1]
        assert last == "USER 10001"


def test_what_is_copied_is_in_the_context():
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
    for name in {name for names in copied for name in names.split()} - {"."}:
        assert name in shown
        assert (ROOT / name).exists()


def test_the_unit_starts_a_command_that_parses():
    unit = (ROOT / "docs/geoindex.service").read_text("utf-8")
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, flags=re.MULTILINE).group(1))
    assert command[0].endswith("/geoindex")
    app.parse_args(command[1:], exit_on_error=False, print_error=False)


def test_without_a_gpu_only_faiss_is_another():
    spec = importlib.util.spec_from_file_location("cpu_requirements", ROOT / "scripts/cpu_requirements.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.cpu_requirements(PROJECT, ["serve"])
    known = {each.partition(";")[0].strip() for each in PROJECT["dependencies"]}
    known |= set(PROJECT["optional-dependencies"]["serve"])
    assert {each.partition(";")[0].strip() for each in found} ^ known == {"torchvision", "faiss-gpu>=1.15"}
    assert "faiss-cpu>=1.15" in found
