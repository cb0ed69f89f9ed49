"""The command line: what is not valid is exit code 2 and one sentence."""

import pytest
from terminal import sentence


def refusal(run, *arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    return sentence(err)


def test_table1_without_a_source(run, tmp_path):
    assert "names no source" in refusal(run, "table1", "--out", tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_table1_of_what_is_no_recipe(run, tmp_path):
    assert "must end in .toml" in refusal(run, "table1", "photos.csv", "--out", tmp_path / "t")


@pytest.mark.parametrize("command", [("build",), ("train",), ("plan", "--images", "1e6")])
def test_two_sources(run, command):
    assert "two sources, 'one' and --source 'other'" in refusal(run, *command, "one", "--source", "other")


def test_an_unknown_command_is_a_whole_sentence(run):
    assert refusal(run, "frob") == "geoindex: Unknown command \"frob\". See 'geoindex --help'."
    assert 'Did you mean "build"?' in refusal(run, "buidl")


def test_arguments_too_many(run):
    line = refusal(run, "info", "one", "two", "three")
    assert line == "geoindex: There are arguments too many: 'two', 'three'. See 'geoindex info --help'."


@pytest.mark.parametrize("command", [
    ("query", "x.jpg", "--index", ""), ("query", "x.jpg", "--index="), ("build", "x", "--encoder", ""),
    ("query", ""), ("info", ""), ("query", "--top-k", "5", ""), ("",),
])  # fmt: skip
def test_names_that_are_empty(run, command):
    assert "is empty; give it a value" in refusal(run, *command)


def test_what_may_be_empty(run, index_folder):
    assert "the first" in run("rollback", index_folder, "--to", "")[2]
