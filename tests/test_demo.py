from pathlib import Path

import pytest
from PIL import Image

from geoindex.demo import demo_recipe, run_demo
from geoindex.errors import ConfigError
from geoindex.recipe_files import load_recipe, recipe_from_dict, recipe_to_dict

RECIPES = sorted((Path(__file__).parents[1] / "indexes").glob("*.toml"))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, "\n".join(run_demo(out, images=300, seed=1))


def test_the_demo_says_that_its_photos_are_invented(told):
    assert "These photos are not real" in told[1]


def test_the_demo_shows_floors_answer_and_truth(told):
    for words in (
        "random pairing",
        "best constant",
        "1-NN",
        "true place",
        "error",
        "oracle",
        "raw pixels",
        "untrained encoder",
    ):
        assert words in told[1]


def test_causes_tell_more_than_pixels(told):
    lines = {line.strip().split("  ")[0]: line.split("  ")[2:] for line in told[1].splitlines()}
    median_km = {name: float(next(filter(None, cells)).replace(",", "")) for name, cells in lines.items()
                 if name in ("oracle: 1-NN, causes", "1-NN, raw pixels")}  # fmt: skip
    assert median_km["oracle: 1-NN, causes"] < median_km["1-NN, raw pixels"] / 3


def test_the_demo_draws_pictures_that_open(told):
    for name in ("answer.png", "gallery.png", "photo.png"):
        with Image.open(told[0] / name) as picture:
            picture.load()
            assert min(picture.size) >= 224


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--images 100"):
        list(run_demo(tmp_path, images=99, seed=0))


@pytest.mark.slow
def test_the_held_out_median_is_under_a_third_of_the_constant(tmp_path):
    from geoindex.evaluation.protocol import evaluate

    list(run_demo(tmp_path, images=3000, seed=0))
    report = evaluate(tmp_path / "index")
    assert report.own.median_km < report.row("best constant").median_km / 3


def test_the_recipe_file_is_the_demo():
    file = next(path for path in RECIPES if path.stem == "demo")
    assert load_recipe(file) == demo_recipe(8000, 0)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_file_is_a_recipe(path):
    recipe = load_recipe(path)
    assert recipe_from_dict(recipe_to_dict(recipe)) == recipe
