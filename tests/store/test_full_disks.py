"""A disk that is full at any write, sync or rename: one sentence, and the index is as it was."""

import errno
import os
import re
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from works import WORKS, answers, begin, check_sound, live, twice_built

from geoindex.errors import StorageError
from geoindex.integrity import verify_index

CALLS = ("fsync", "replace", "rename")
"""Calls of the system that a full disk refuses, beside the writing itself."""

SAID = r"The disk of '.+' is full; free some space and run the same command again\."

SIZES = (0, 150, 1000, 2500, 5600, 9000, 15_900)
"""Bytes that any one file can have: each stops the writing at another file of another library."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two generations; nobody writes to it."""
    return twice_built(tmp_path_factory.mktemp("base") / "index")


@pytest.fixture(scope="module")
def queries():
    return np.eye(8, dtype=np.float32)


@contextmanager
def room_for(count, calls):
    """Refuse every call after so many."""
    left, kept = iter(range(count)), {name: getattr(os, name) for name in CALLS}

    def limited(name):
        def call(*arguments, **options):
            calls.append(name)
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return kept[name](*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, limited(name))
        yield


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def check(path, name, queries, right, again):
    """The index answers as before, or as after if nothing but the last sync was refused."""
    work = WORKS[name]
    found = live(path)
    assert found in (work.before, work.after)
    if found:
        check_sound(path, work.rows)
    if found == work.before and found and name != "remove":  # whose list comes first, and hides photos at once
        assert answers(path, queries) == right
    if again:
        work.run(path)
        assert verify_index(path, full=True).faults == ()
        check_sound(path, work.rows[-1:])
    return found


def fill(base, folder, name, count, queries, again):
    """Do one work while there is room for so many calls; return what is live then and whether that was enough."""
    path, calls, said = begin(base, folder, name), [], ""
    right = answers(path, queries) if path.exists() else []
    try:
        with room_for(count, calls):
            WORKS[name].run(path)
    except StorageError as error:
        said = str(error)
    assert re.fullmatch(SAID, said) or (not said and len(calls) <= count)
    return check(path, name, queries, right, again), len(calls)


@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_fills_up(base, tmp_path, name, queries):
    _, enough = fill(base, tmp_path / "enough", name, 10**6, queries, again=False)
    for count in sorted({0, 1, enough // 3, 2 * enough // 3, enough - 1} & set(range(enough))):
        found, calls = fill(base, tmp_path / f"{count}", name, count, queries, again=count == enough // 3)
        assert calls > count
        # a compaction goes on after its switch
        assert found == WORKS[name].before or count == enough - 1 or name == "compact"


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
def test_a_disk_that_fills_up_at_every_call(base, tmp_path, name, queries):
    _, enough = fill(base, tmp_path / "enough", name, 10**6, queries, again=False)
    names = [fill(base, tmp_path / f"{count}", name, count, queries, again=True)[0] for count in range(enough)]
    # only the last sync, of the folder that holds CURRENT, comes after the switch, but in a compaction
    assert set(names[:-1]) == {WORKS[name].before} or (name == "compact" and names == sorted(names))


@pytest.mark.parametrize("name", ["first build", "build", "rebuild"])
def test_a_disk_that_fills_up_in_the_middle_of_a_file(base, tmp_path, name, queries):
    right = answers(base, queries)
    for size in SIZES[:-1] if name == "rebuild" else SIZES:  # only images are larger than the last
        path = begin(base, tmp_path / f"{size}", name)
        with pytest.raises(StorageError, match=SAID), files_of_at_most(size):
            WORKS[name].run(path)
        assert check(path, name, queries, right, again=size == SIZES[-2]) == WORKS[name].before
