"""What tasks write is committed once, whatever they do; the tasks here are plain calls, without Ray."""

import numpy as np
import pyarrow as pa
import pytest

from geoindex.distributed import writing
from geoindex.distributed.writing import store_on_ray
from geoindex.store.tables import LanceTables

pytest.importorskip("lance")

SCHEMA = pa.schema([("row", pa.int64())])


class Rows:
    """Ten rows of a table."""

    def __init__(self, start, seen=True):
        self.start, self.is_seen = start, seen

    def __len__(self):
        return 10

    def seen(self):
        return self.is_seen

    def batches(self):
        yield pa.record_batch({"row": pa.array(np.arange(self.start, self.start + 10))})


def written(tables, version):
    return tables.read("images", version, ["row"])["row"].to_pylist()


def test_rows_that_workers_do_not_see_are_written_here(tmp_path, monkeypatch):
    given = []

    def calls(function, calls):
        for call in calls:
            given.append(function(*call))
            yield given[-1]

    monkeypatch.setattr(writing, "in_order", calls)
    tables = LanceTables(tmp_path)
    version = store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10, seen=False), Rows(20)])
    assert [fragment is None for fragment in given] == [False, True, False]
    assert written(tables, version) == list(range(30))


def test_a_task_that_runs_twice_leaves_nothing_behind(tmp_path, monkeypatch):
    def twice(function, calls):
        for call in calls:
            function(*call)
            yield function(*call)

    monkeypatch.setattr(writing, "in_order", twice)
    tables = LanceTables(tmp_path)
    tables.write("images", SCHEMA, list(Rows(90).batches()))
    version = store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])
    assert written(tables, version) == list(range(20))
    assert written(tables, 1) == list(range(90, 100))  # files of other versions stay
    assert len(list((tmp_path / "images.lance" / "data").iterdir())) == 1 + 2
    assert not tables.checksums.faults("images", version)


def test_a_stopped_write_is_begun_again(tmp_path, monkeypatch):
    def dies(function, calls):
        yield function(*next(iter(calls)))
        raise KeyboardInterrupt

    tables = LanceTables(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "in_order", dies)
        with pytest.raises(KeyboardInterrupt):
            store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])
    assert not tables.opens("images")
    monkeypatch.setattr(writing, "in_order", lambda function, calls: (function(*call) for call in calls))
    version = store_on_ray(tables, "images", SCHEMA, [Rows(0), Rows(10)])
    assert written(tables, version) == list(range(20))
