import json

import pytest

import geoindex
from geoindex.bench import bench_index
from geoindex.errors import ConfigError


def test_every_step_is_timed(built):
    report = bench_index(built.path, queries=4)
    steps = [(t.step, t.batch) for t in report.timings]
    assert [s for s in steps if s[0] == "search"] == [("search", 1), ("search", 32), ("search", 256)]
    assert {s[0] for s in steps} >= {"photo: decode", "photo: encode", "photo: all of it", "answer to an embedding"}
    assert all(0 < t.p50_ms <= t.p95_ms <= t.p99_ms for t in report.timings)
    assert report.cell_recall == 1.0
    assert report.backend == "torch"
    assert (report.images, report.clusters) == (79, 40)
    assert json.loads(json.dumps(report.to_dict()))["open_ms"] == report.open_ms


def test_an_index_of_embeddings_is_measured_without_its_encoder(tmp_path):
    path = geoindex.build_index("planted:200?dim=8", out=tmp_path / "index", training={"method": "none"}).path
    report = bench_index(path, queries=2)
    assert report.encoder_ms is None
    assert not any(t.step.startswith("photo") for t in report.timings)
    assert "% of the exact best" in report.to_text()


def test_no_query_is_refused(built):
    with pytest.raises(ConfigError, match="queries is 0; it must be at least 1"):
        bench_index(built.path, queries=0)
