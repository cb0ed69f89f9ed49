"""Results of finished steps on the disk."""

import numpy as np
import pytest

from geoindex.store.finished import FinishedSteps, Result, digest_of

RESULT = Result({"a": np.arange(6.0).reshape(2, 3), "b": np.array(["é", ""])}, {"x": [1.5, None], "y": {"z": "ü"}})


@pytest.fixture
def steps(tmp_path):
    return FinishedSteps(tmp_path / "work" / "steps")


def test_a_result_comes_back_bit_for_bit(steps):
    steps.write("one", "k", RESULT)
    found = steps.read("one", "k")
    assert found.facts == RESULT.facts
    assert found.arrays.keys() == RESULT.arrays.keys()
    for name, values in RESULT.arrays.items():
        assert found.arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(found.arrays[name], values)
    assert found.to_bytes() == RESULT.to_bytes()


def test_another_key_or_step_has_none(steps):
    steps.write("one", "k", RESULT)
    assert steps.read("one", "other") is None
    assert steps.read("two", "k") is None


def test_the_newest_key_of_a_step_is_kept(steps):
    steps.write("one", "k", RESULT)
    steps.write("two", "k", RESULT)
    (steps.folder / ".one-k.123.tmp").write_bytes(b"half")
    steps.write("one", "new", RESULT)
    assert sorted(path.name for path in steps.folder.iterdir()) == ["one-new", "two-k"]
    steps.clear()
    assert steps.read("one", "new") is None
    assert not steps.folder.exists()


@pytest.mark.parametrize("place", [0, 31, 32, 100, -1])
def test_a_flipped_bit_is_no_result(steps, place):
    steps.write("one", "k", RESULT)
    path = steps.folder / "one-k"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert steps.read("one", "k") is None


@pytest.mark.parametrize("length", [0, 10, 32, 500])
def test_a_file_that_was_cut_is_no_result(steps, length):
    steps.write("one", "k", RESULT)
    path = steps.folder / "one-k"
    assert len(path.read_bytes()) > 500
    path.write_bytes(path.read_bytes()[:length])
    assert steps.read("one", "k") is None


def test_a_file_of_another_key_is_no_result(steps):
    steps.write("one", "k", RESULT)
    (steps.folder / "one-k").rename(steps.folder / "one-other")
    assert steps.read("one", "other") is None


def test_a_key_tells_values_apart():
    parts = [
        [np.arange(4)], [np.arange(4.0)], [np.arange(4).reshape(2, 2)], [np.arange(4), None], [None, np.arange(4)],
        ["a", "b"], ["ab"], [["a", "b"]], [{"a": 1}], [{"a": 1.0}],
    ]  # fmt: skip
    assert len({digest_of(*each) for each in parts}) == len(parts)
    assert digest_of(np.arange(4), {"a": None}) == digest_of(np.arange(4), {"a": None})
