"""What an index is made of, as dataclasses.

Every field is a key of a recipe file and a flag of `geoindex build`; its docstring is the flag's help.
"""

from geoindex.recipe.checks import require
from geoindex.recipe.division import ClusterRecipe, GeocellRecipe
from geoindex.recipe.encoding import EncoderRecipe
from geoindex.recipe.paper import paper_recipe
from geoindex.recipe.recipe import Recipe, SearchRecipe
from geoindex.recipe.training import FineTuningRecipe, TrainingRecipe

__all__ = [
    "ClusterRecipe",
    "EncoderRecipe",
    "FineTuningRecipe",
    "GeocellRecipe",
    "Recipe",
    "SearchRecipe",
    "TrainingRecipe",
    "paper_recipe",
    "require",
]
