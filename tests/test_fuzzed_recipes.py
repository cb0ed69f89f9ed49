"""Recipes changed at random: they are read as they are meant, or the key is named."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoindex.errors import ConfigError
from geoindex.recipe import Recipe
from geoindex.recipe_files import load_recipe, recipe_from_dict, recipe_to_dict, recipe_to_toml

fuzzed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = recipe_to_toml(Recipe(source="photos"))
SCALARS = st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.none()
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
)


def read(work):
    """Return the recipe, or check that what is wrong with it is one sentence."""
    try:
        recipe = work()
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
    assert len(said.splitlines()) < 2, said
    if said:
        return None
    if "nan" not in repr(recipe):
        assert recipe_from_dict(recipe_to_dict(recipe)) == recipe
    return recipe


@fuzzed
@given(data=st.data())
def test_any_change_of_the_text(tmp_path, data):
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 30)))
    piece = data.draw(st.text(max_size=10) | st.just(TEXT[start:end] * 2))
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT[:start] + piece + TEXT[end:], "utf-8", errors="surrogatepass")
    read(lambda: load_recipe(path))


@fuzzed
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path, data):
    path = tmp_path / "recipe.toml"
    path.write_bytes(data)
    read(lambda: load_recipe(path))


@fuzzed
@given(data=st.data())
def test_any_value_of_any_key(data):
    values = recipe_to_dict(Recipe(source="photos"))
    for _ in range(data.draw(st.integers(1, 3))):
        section = values
        while section:
            key = data.draw(st.sampled_from(sorted(section)))
            if not isinstance(section[key], dict) or data.draw(st.integers(0, 4)) == 0:
                break
            section = section[key]
        section[data.draw(st.just(key) | st.text(max_size=8))] = data.draw(VALUES)
    read(lambda: recipe_from_dict(values))


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "seed = " + "9" * 10_000, '"a\\nb" = 1', "[geocells]\nxi = [1e400]"]
)
def test_what_no_reader_expects(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    assert read(lambda: load_recipe(path)) is None
