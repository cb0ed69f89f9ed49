"""Two systems on the same photos."""

import json

import numpy as np
import pytest

from geoindex.errors import ConfigError, DatasetNotFoundError, TableError
from geoindex.evaluation.comparison import compare_predictions
from geoindex.evaluation.predictions import Predictions, read_predictions


def predictions(distance_km, name="one", ids=None, convention="geoindex"):
    km = np.asarray(distance_km, float)
    nowhere = np.zeros(len(km))
    names = [f"q{i}" for i in range(len(km))] if ids is None else ids
    return Predictions(name, "photos", convention, names, nowhere, nowhere, nowhere, nowhere, km)


@pytest.fixture
def distance_km():
    return np.random.default_rng(0).exponential(800.0, 400)


def by_measure(comparison):
    return {difference.measure: difference for difference in comparison.differences}


def test_a_small_steady_gain_shows_only_in_pairs(distance_km):
    found = by_measure(compare_predictions(predictions(distance_km), predictions(distance_km * 0.97)))
    mean = found["mean_km"]
    assert mean.difference == pytest.approx(-0.03 * distance_km.mean())
    assert mean.high < 0
    assert mean.p < 1e-6
    assert mean.high - mean.low < 0.1 * distance_km.std()  # unpaired, it would be wider than the gain
    assert found["geoscore"].low > 0


def test_equal_systems_do_not_differ(distance_km):
    comparison = compare_predictions(predictions(distance_km), predictions(distance_km))
    assert comparison.nearer == (0, 400, 0)
    assert {(d.difference, d.low, d.high, d.p) for d in comparison.differences} == {(0, 0, 0, 1)}


def test_chance_is_called_different_one_time_in_twenty():
    rng = np.random.default_rng(3)
    called = 0
    for _ in range(100):
        pair = [predictions(rng.exponential(500.0, 80)) for _ in range(2)]
        found = by_measure(compare_predictions(*pair, draws=100))
        called += found["geoscore"].p < 0.05
    assert called <= 12


def test_photos_are_paired_by_id(distance_km):
    ids = [f"q{i}" for i in range(400)]
    order = np.random.default_rng(1).permutation(400)
    shuffled = predictions(distance_km[order][:300], ids=[ids[i] for i in order][:300])
    comparison = compare_predictions(predictions(distance_km), shuffled)
    assert (comparison.count, comparison.only_first, comparison.only_second) == (300, 100, 0)
    assert comparison.nearer == (0, 300, 0)
    assert "100 photos that only the first answered are left out" in comparison.to_text()


def test_shares_are_tested_on_the_photos_that_changed():
    first, second = np.full(20, 100.0), np.array([10.0] * 8 + [100.0] * 12)
    found = by_measure(compare_predictions(predictions(first), predictions(second)))
    assert found["accuracy.25"].difference == pytest.approx(40)
    assert found["accuracy.25"].p == pytest.approx(2 * 0.5**8)
    assert found["accuracy.200"].p == 1


def test_what_cannot_be_compared_is_refused(distance_km):
    with pytest.raises(ConfigError, match="no photo in common"):
        compare_predictions(predictions([1.0]), predictions([1.0], ids=["other"]))
    with pytest.raises(ConfigError, match="the same --convention"):
        compare_predictions(predictions([1.0]), predictions([1.0], convention="pigeon"))
    with pytest.raises(ConfigError, match="Seed -1"):
        compare_predictions(predictions([1.0]), predictions([1.0]), seed=-1)


def test_predictions_are_read_back(tmp_path, distance_km):
    predictions(distance_km).write(tmp_path / "a.json")
    read = read_predictions(tmp_path / "a.json")
    assert read.ids[:2] == ["q0", "q1"]
    np.testing.assert_array_equal(read.distance_km, distance_km)


def test_another_system_needs_ids_and_distances_alone(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps({"ids": ["q0", "q1"], "distance_km": [3, 4]}))
    assert compare_predictions(read_predictions(tmp_path / "b.json"), predictions([3.0, 5.0])).nearer == (1, 1, 0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"ids": ["a"], "distance_km": [1, 2]}', '{"ids": ["a", "a"], "distance_km": [1, 2]}']
)
def test_what_holds_no_predictions_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(TableError, match="holds no predictions"):
        read_predictions(tmp_path / "c.json")
    with pytest.raises(DatasetNotFoundError, match="geoindex eval INDEX --predictions"):
        read_predictions(tmp_path / "none.json")


def test_the_command_compares_what_eval_writes(index_folder, tmp_path, run):
    for name, options in (("a.json", ()), ("b.json", ("--split", "val"))):
        assert run("eval", index_folder, "--predictions", tmp_path / name, *options)[0] == 0
    code, out, _ = run("compare", tmp_path / "a.json", tmp_path / "a.json", "--format", "json")
    assert (code, json.loads(out)["nearer"][1]) == (0, json.loads(out)["count"])
    assert "GeoScore" in run("compare", tmp_path / "a.json", tmp_path / "a.json")[1]
    assert "no photo in common" in run("compare", tmp_path / "a.json", tmp_path / "b.json")[2]
