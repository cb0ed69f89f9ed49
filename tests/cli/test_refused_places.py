"""Places that cannot be written: one sentence whose cure fits the command, before the work."""

import pytest
from terminal import sentence


@pytest.fixture
def blocking(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    return path


def refusal(run, *arguments, code=1):
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    line = sentence(err)
    assert "The system refuses" not in line
    assert "Errno" not in line
    return line


@pytest.mark.parametrize("flag", ["--predictions", "--report"])
def test_an_evaluation_looks_at_its_places_first(run, built, tmp_path, blocking, monkeypatch, flag):
    monkeypatch.setattr("geoindex.evaluation.protocol.open_index", None)
    places = {"--predictions": (tmp_path, tmp_path / "none" / "file"), "--report": (blocking,)}
    for place in places[flag]:
        assert str(place.name) in refusal(run, "eval", built.path, flag, place)
    assert blocking.read_text() == "mine"


def test_a_demo_into_a_file(run, blocking):
    code, _, err = run("demo", "--out", blocking)
    assert code == 1
    assert sentence(err).endswith(
        f"Cannot write to '{blocking}': File exists; change its permissions or choose another place."
    )


@pytest.mark.parametrize("command", ["build", "geocells", "clone", "export", "import"])
def test_a_name_that_is_too_long(run, built, tmp_path, command):
    place = tmp_path / ("n" * 256)
    arguments = {
        "build": ["planted:120?dim=8", "--out", place], "geocells": ["planted:120?dim=8", "--out", place],
        "clone": [built.path, place], "export": [built.path, place], "import": [tmp_path / "none.tar", place],
    }[command]  # fmt: skip
    assert "holds a name of more than 255 bytes" in refusal(run, command, *arguments, code=2)
