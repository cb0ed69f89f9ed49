"""The settings of the paper's Table 1 (sections 3 and 4)."""

from geoindex.recipe.division import ClusterRecipe, GeocellRecipe
from geoindex.recipe.encoding import EncoderRecipe
from geoindex.recipe.recipe import Recipe
from geoindex.recipe.training import FineTuningRecipe, TrainingRecipe


def paper_recipe(source: str = "") -> Recipe:
    """Return them for a source: 100,000 images to train on, as many each to validate and test on as 80/10/10 leaves."""
    return Recipe(
        source=source,
        sample=125_000,
        encoder="timm:vit_base_patch16_224.augreg_in21k",
        encoding=EncoderRecipe(image_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        geocells=GeocellRecipe(n_cells=174),
        clusters=ClusterRecipe(min_clusters=5, max_clusters=100),
        training=TrainingRecipe(method="images", epochs=10, patience=10, lr=1e-3, places=32, images=4),
        finetuning=FineTuningRecipe(weights="all", lr=1e-7),
    )
