"""One writer an index, and the system frees what a dead one held."""

import subprocess
import sys
from pathlib import Path

import pytest

import geoindex
from geoindex.errors import IndexLockedError, StorageError
from geoindex.store.generations import IndexFolder

CODE = Path(geoindex.__file__).parents[1]


@pytest.fixture
def index(tmp_path):
    return IndexFolder(tmp_path / "world")


HOLD = """
import sys
from pathlib import Path
from geoindex.store.generations import IndexFolder
with IndexFolder(Path(sys.argv[1])).writing():
    print("writing", flush=True)
    sys.stdin.read()
"""

TRY = """
import sys
from pathlib import Path
from geoindex.errors import GeoindexError
from geoindex.store.generations import IndexFolder
try:
    with IndexFolder(Path(sys.argv[1])).writing():
        print("writing")
except GeoindexError as error:
    print(type(error).__name__, error)
"""


def python(code, root):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root)], cwd=CODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_another_process_is_kept_out_until_the_writer_is_done(index):
    with index.writing():
        said, _ = python(TRY, index.root).communicate(timeout=60)
    assert said.startswith(f"IndexLockedError Another process is writing to '{index.root}'; wait for it to end")
    said, _ = python(TRY, index.root).communicate(timeout=60)
    assert said == "writing\n"


def test_the_lock_of_a_killed_process_is_free(index):
    with python(HOLD, index.root) as other:
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(IndexLockedError, match="or build into another folder"), index.writing():
            pass
        other.kill()
        other.wait(timeout=60)
        with index.writing():
            assert index.begin()[0] == "000001"


def test_the_lock_is_free_after_an_error(index):
    for _ in range(2):
        with pytest.raises(ValueError, match="stop"), index.writing():
            raise ValueError("stop")


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path):
    path = tmp_path / "index"
    path.write_bytes(b"a file")
    with pytest.raises(StorageError, match="choose another place"), IndexFolder(path).writing():
        pass
