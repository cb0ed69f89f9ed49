"""What tasks write is committed once, whatever they do; the tasks here are plain calls, without Ray."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from geoindex.distributed import writing
from geoindex.distributed.writing import store_on_ray
from geoindex.store.fragments import write_fragment
from geoindex.store.tables import LanceTables

pytest.importorskip("lance")

SCHEMA = pa.schema([("row", pa.int64())])


class Rows:
    """Ten rows of a table."""

    def __init__(self, start):
        self.start = start

    def __len__(self):
        return 10

    def batches(self):
        yield pa.record_batch({"row": pa.array(np.arange(self.start, self.start + 10))})


@pytest.fixture
def tables(tmp_path):
    return LanceTables(tmp_path / "tables")


def written(tables, version):
    return tables.read("images", version, ["row"])["row"].to_pylist()


def data(tables):
    return sorted((tables.folder / "images.lance" / "data").glob("*"))


def plain(function, calls):
    return (function(*call) for call in calls)


def test_rows_of_workers_that_do_not_see_the_folder_are_written_here(tables, monkeypatch):
    """As of a computer that has a folder of the same name, with shards of another build in it."""
    given = []

    def calls(function, calls):
        for number, (sign, *rest) in enumerate(calls):
            assert sign.exists()
            given.append(function(sign.with_name("of another") if number == 1 else sign, *rest))
            yield given[-1]

    monkeypatch.setattr(writing, "in_order", calls)
    version = store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10), Rows(20)])
    assert [fragment is None for fragment in given] == [False, True, False]
    assert written(tables, version) == list(range(30))
    assert not list(tables.folder.glob(".writing-*"))


def test_a_task_that_runs_twice_leaves_nothing_behind(tables, monkeypatch):
    def twice(function, calls):
        for call in calls:
            function(*call)
            yield function(*call)

    monkeypatch.setattr(writing, "in_order", twice)
    tables.write("images", SCHEMA, list(Rows(90).batches()))
    version = store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])
    assert written(tables, version) == list(range(20))
    assert written(tables, 1) == list(range(90, 100))  # files of other versions stay
    assert len(data(tables)) == 1 + 2
    assert not tables.checksums.faults("images", version)


def test_a_stopped_write_leaves_nothing_and_is_begun_again(tables, monkeypatch):
    def dies(function, calls):
        yield function(*next(iter(calls)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writing, "in_order", dies)
        with pytest.raises(KeyboardInterrupt):
            store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])
    assert not tables.opens("images")
    assert data(tables) == []
    monkeypatch.setattr(writing, "in_order", plain)
    assert written(tables, store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])) == list(range(20))


def test_what_a_killed_write_left_is_removed(tables, monkeypatch):
    write_fragment(tables.checksums, "images", SCHEMA, Rows(50).batches())
    monkeypatch.setattr(writing, "in_order", plain)
    store_on_ray(tables, "images", SCHEMA, [Rows(0)])
    assert len(data(tables)) == 1


def test_workers_are_told_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = []

    def elsewhere(function, calls):
        calls = list(calls)
        with monkeypatch.context() as patch:
            patch.chdir("/")
            given.extend(plain(function, calls))
        yield from given

    monkeypatch.setattr(writing, "in_order", elsewhere)
    version = store_on_ray(LanceTables(Path("tables")), "images", SCHEMA, [Rows(0), Rows(10)])
    assert None not in given
    assert written(LanceTables(tmp_path / "tables"), version) == list(range(20))


def test_without_the_extra_this_process_writes(tables, monkeypatch):
    monkeypatch.setattr(writing, "can_write_fragments", lambda: False)
    monkeypatch.setattr(writing, "in_order", None)
    assert written(tables, store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])) == list(range(20))
