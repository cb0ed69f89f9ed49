"""Files that are not what they are named for: one sentence that says what they lack, in our own words."""

import json

import pytest
from terminal import TINY, sentence
from tiles import write_table

from geoindex.encoder.weights import read_weights
from geoindex.errors import ConfigError, TableError, WeightsError
from geoindex.evaluation.predictions import read_predictions
from geoindex.evaluation.regions import Gazetteer, Polygons
from geoindex.sources import open_source


def refusal(run, *arguments, code=1):
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    return sentence(err)


@pytest.fixture
def positions(tmp_path):
    return write_table(tmp_path / "positions.csv", [(10 + row / 10, 20 + row / 5) for row in range(40)], ("lat", "lon"))


def test_a_photo_is_no_file_of_weights(photo, tmp_path):
    safe = tmp_path / "broken.safetensors"
    safe.write_bytes(b"none")
    for path in (photo, safe):
        with pytest.raises(WeightsError) as refused:
            read_weights(path)
        what = f"Cannot read weights '{path}': it is damaged, or no file of tensors alone"
        assert str(refused.value) == f"{what}; fetch it again, or save a state dict."


def test_positions_alone_are_refused_before_an_encoder_is_loaded(run, positions, built, tmp_path, monkeypatch):
    monkeypatch.setattr("geoindex.encoder.choose_encoder", None)
    for command in (["build", positions, "--out", tmp_path / "index", *TINY], ["add", built.path, positions]):
        assert "no column of images or ids; name one with --column image=NAME" in refusal(run, *command)
    assert not (tmp_path / "index").exists()


def test_positions_alone_are_enough_for_cells(positions):
    assert len(open_source(positions).scan().samples) == 40


def test_ids_stand_for_names_of_images(run, tmp_path):
    table = write_table(tmp_path / "t.csv", [(f"a{i}", i + 1, i + 1) for i in range(9)], ("id", "lat", "lon"))
    assert "None of the 9 images could be read" in refusal(run, "build", table, "--out", tmp_path / "index", *TINY)


@pytest.mark.parametrize("query", ["", "?table="])
def test_listed_needs_its_table(run, tmp_path, query):
    uri = f"listed:{tmp_path}{query}"
    line = refusal(run, "build", uri, "--out", tmp_path / "index", code=2)
    assert line.endswith(f"Source '{uri}' needs ?table=PATH, the table of its images.")


def test_a_condition_of_another_type_shows_no_code_of_others(run, index_folder):
    line = refusal(run, "remove", index_folder, "--where", "lat > 'x'", code=2)
    assert "could not convert to literal of type 'Float64'); columns are row, id" in line
    assert "registry" not in line
    assert ".rs" not in line


def test_places_that_lack_something_say_what(positions, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no column 'name'\); give a table with columns lat, lon, name"):
        Gazetteer.read(positions)
    with pytest.raises(ConfigError, match="it has no rows"):
        Gazetteer.read(write_table(tmp_path / "none.csv", [], ("lat", "lon")))


@pytest.mark.parametrize(("value", "lacks"), [({"a": 1}, r"\(it lacks 'ids'\)"), ([1], r"\(it is no object of JSON\)")])
def test_what_holds_no_predictions_says_what_is_missing(tmp_path, value, lacks):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(value))
    with pytest.raises(TableError, match=lacks):
        read_predictions(path)


def test_polygons_without_features(tmp_path):
    path = tmp_path / "regions.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"\(there is no 'features'\)"):
        Polygons.read(path)
