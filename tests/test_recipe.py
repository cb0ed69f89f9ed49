import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoindex.errors import ConfigError
from geoindex.pipeline import merge_recipe
from geoindex.recipe import GeocellRecipe, Recipe, SearchRecipe
from geoindex.recipe_files import load_recipe, recipe_from_dict, recipe_to_dict, recipe_to_toml


def test_defaults_are_a_recipe():
    assert recipe_from_dict({}) == Recipe()


@given(
    source=st.text(max_size=40),
    seed=st.integers(0, 2**31),
    sample=st.none() | st.integers(1, 10**9),
    xi=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=4),
    column=st.lists(st.text(max_size=10), max_size=3),
)
def test_toml_round_trip(tmp_path_factory, source, seed, sample, xi, column):
    recipe = Recipe(source=source, seed=seed, sample=sample, column=tuple(column), geocells=GeocellRecipe(xi=tuple(xi)))
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_text(recipe_to_toml(recipe), "utf-8")
    assert load_recipe(path) == recipe


def test_dict_round_trip_through_plain_types():
    recipe = Recipe(source="photos:x", search=SearchRecipe(top_cells=3, rule="nearest"))
    assert recipe_from_dict(recipe_to_dict(recipe)) == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sorce": "x"}, "did you mean 'source'"),
        ({"geocells": {"xii": [0.1]}}, "'geocells.xii'; did you mean 'xi'"),
        ({"seed": "one"}, "'seed' is 'one'; it must be of type int"),
        ({"seed": True}, "must be of type int"),
        ({"geocells": 3}, "must be a section"),
        ({"geocells": {"xi": [1.5]}}, "between 0 and 1"),
        ({"geocells": {"min_cells": 9, "max_cells": 3}}, "at most max_cells"),
        ({"split_ratio": [0.5, 0.5]}, "a list of 3"),
        ({"split_ratio": [0.5, 0.2, 0.2]}, "sum to 1"),
        ({"search": {"rule": "best"}}, "one of auto, nearest"),
        ({"sample": 0}, "at least 1"),
        ({"seed": None}, "'seed' is None; it must be of type int"),
    ],
)
def test_a_wrong_recipe_names_its_key(values, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        recipe_from_dict(values)


def test_none_takes_back_what_a_recipe_said():
    recipe = Recipe(source="photos:x", sample=10)
    assert merge_recipe(recipe, {"sample": None, "geocells": {"n_cells": None}}) == Recipe(source="photos:x")


def test_columns_are_parsed():
    assert Recipe(column=("lat=Y", "lon = X")).columns == {"lat": "Y", "lon": "X"}
    with pytest.raises(ConfigError, match="MEANING=NAME"):
        _ = Recipe(column=("lat",)).columns


def test_a_missing_or_broken_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="No recipe at"):
        load_recipe(tmp_path / "no.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("source = ")
    with pytest.raises(ConfigError, match="not readable TOML"):
        load_recipe(broken)
