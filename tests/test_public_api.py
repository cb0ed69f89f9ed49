"""The names that `import geoindex` offers, and what it costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import geoindex

ROOT = Path(geoindex.__file__).parents[1]
HEAVY = ("torch", "lancedb", "lance", "faiss", "sklearn", "matplotlib", "numpy", "scipy", "pyarrow", "PIL", "timm")


def modules_after(code):
    """Return which heavy modules are loaded after some code ran in a fresh interpreter."""
    report = f"\nimport json, sys\nsys.stderr.write(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, env=environment, check=True
    )
    return json.loads(ran.stderr.splitlines()[-1])


def test_all_names_have_a_home_and_resolve():
    assert sorted(geoindex.__all__) == sorted(geoindex._HOMES)
    assert len(geoindex.__all__) <= 16
    for name, home in geoindex._HOMES.items():
        assert getattr(geoindex, name).__name__ == name
        assert f"{getattr(geoindex, name).__module__}.".startswith(f"geoindex.{home}.")
    assert set(geoindex.__all__) < set(dir(geoindex))


def test_names_are_not_shadowed_by_modules():
    modules = {path.stem for path in Path(geoindex.__file__).parent.iterdir()}
    assert not modules & set(geoindex.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'locate'"):
        geoindex.locate  # noqa: B018


def test_the_root_loads_nothing_heavy():
    assert modules_after("import geoindex") == []


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom geoindex.cli import main\nassert main({arguments}) == 0"
    assert modules_after(code.format(arguments=["--help"])) == []
    assert modules_after(code.format(arguments=["--version"])) == []


def test_every_public_name_is_documented():
    for name in geoindex.__all__:
        assert (getattr(geoindex, name).__doc__ or "").strip(), name
