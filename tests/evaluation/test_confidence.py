import json

import numpy as np
import pytest

import geoindex
from geoindex.evaluation.confidence import ConfidenceReport, Sureness
from geoindex.evaluation.protocol import evaluate


def sureness(off_km):
    off = np.array(off_km, float)
    count = len(off)
    within = np.tile([0.1, 0.5, 0.9], (count, 1))
    return Sureness(within, np.tile([100.0, 1000.0], (count, 1)), off, np.tile([3000.0, 9000.0], (count, 1)))


def test_chances_and_radii_are_held_against_what_came():
    report = ConfidenceReport.measure(sureness([10, 150, 300, 999, 5000]))
    assert [(c.radius_km, c.right, c.told) for c in report.chances] == [
        (25, 0.2, pytest.approx(0.1)), (200, 0.4, 0.5), (750, 0.6, pytest.approx(0.9)),
    ]  # fmt: skip
    assert [(r.share, r.held, r.median_km, r.constant_km) for r in report.radii] == [
        (0.5, 0.2, 100, 3000), (0.9, 0.8, 1000, 9000),
    ]  # fmt: skip
    assert report.chances[2].skill == pytest.approx(1 - (0.6 * 0.01 + 0.4 * 0.81) / 0.24)


def test_no_skill_where_no_answer_is_right():
    far = ConfidenceReport.measure(sureness([5000, 6000]))
    assert [(c.skill, c.saved) for c in far.chances] == [(None, None)] * 3
    assert "none" in far.to_text()
    assert json.loads(json.dumps(far.to_dict(), allow_nan=False))["chances"][0]["skill"] is None


def test_parts_are_put_together():
    parts = sureness([10, 150]), sureness([5000])
    assert Sureness.joined(list(parts)).distance_km.tolist() == [10, 150, 5000]
    assert ConfidenceReport.measure(Sureness.joined(list(parts))).chances[1].right == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    keys = {"split_ratio": [0.6, 0.2, 0.2], "training": {"method": "none"}}
    return geoindex.build_index("planted:1500?dim=16&noise=0.5", out=tmp_path_factory.mktemp("p") / "i", **keys).path


def test_an_evaluation_tells_it_of_what_the_index_answers(path):
    index = geoindex.open_index(path)
    report = evaluate(index)
    assert report.confidence is not None
    assert report.confidence.to_text() in report.to_text()
    assert json.loads(json.dumps(report.to_dict()))["confidence"]["radii"][1]["share"] == 0.9
    assert max(chance.error for chance in report.confidence.chances) < 0.1
    assert report.confidence.chances[2].skill > 0.1
    assert 0.8 < report.confidence.radii[1].held < 0.97
