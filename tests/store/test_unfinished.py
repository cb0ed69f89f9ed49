"""Large files that have a name of their own until they are whole."""

import signal
import subprocess
import sys
from pathlib import Path

from geoindex.store.unfinished import UnfinishedFile

MAKE = "import sys, time\nfrom pathlib import Path\nfrom geoindex.store.unfinished import UnfinishedFile\n"
MAKE += "file = UnfinishedFile(Path(sys.argv[1]))\nprint(file.path, flush=True)\ntime.sleep(60)\n"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_has_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"the one before")
    file = UnfinishedFile(path)
    file.path.write_bytes(b"whole")
    assert path.read_bytes() == b"the one before"
    file.finish()
    assert (names(tmp_path), path.read_bytes()) == (["large.bin"], b"whole")


def test_what_is_let_go_of_leaves_nothing(tmp_path):
    UnfinishedFile(tmp_path / "large.bin")
    assert names(tmp_path) == []


def test_two_at_a_time_do_not_meet(tmp_path):
    path = tmp_path / "large.bin"
    one, other = UnfinishedFile(path), UnfinishedFile(path)
    one.path.write_bytes(b"one")
    other.path.write_bytes(b"other")
    one.finish()
    assert path.read_bytes() == b"one"
    other.finish()
    assert (names(tmp_path), path.read_bytes()) == (["large.bin"], b"other")


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "large.bin"
    with subprocess.Popen([sys.executable, "-c", MAKE, str(path)], stdout=subprocess.PIPE, text=True) as process:
        left = Path(process.stdout.readline().strip())
        kept = UnfinishedFile(path)
        assert left.exists()  # its process lives
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == sorted([left.name, kept.path.name])
    again = UnfinishedFile(path)
    assert names(tmp_path) == sorted([again.path.name, kept.path.name])
