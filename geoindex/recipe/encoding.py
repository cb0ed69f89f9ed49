"""How images become features."""

from dataclasses import dataclass
from typing import Literal

from geoindex.recipe.checks import require


@dataclass(frozen=True)
class EncoderRecipe:
    """How images become features; a key left out means what the model's own configuration says."""

    image_size: int | None = None
    """Side of the square input in pixels (the paper: 224)."""

    mean: tuple[float, float, float] | None = None
    """Channel means to subtract, of pixels in 0..1 (ImageNet: 0.485 0.456 0.406)."""

    std: tuple[float, float, float] | None = None
    """Channel deviations to divide by (ImageNet: 0.229 0.224 0.225)."""

    projection: Literal["auto", "none", "whiten"] = "auto"
    """Linear map from features to embeddings, fitted on the gallery: none, or centre and whiten; auto: where
    geo-embeddings are fitted on stored features, the better start on validation, none elsewhere."""

    dim: int | None = None
    """Dimensions that whitening keeps; left out: as many as the features have."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the forward pass; auto: bfloat16 on a GPU that has it, float32 elsewhere."""

    batch_size: int | None = None
    """Images a forward pass; left out: 32, and 256 on a GPU."""

    def __post_init__(self) -> None:
        require(self.batch_size is None or self.batch_size >= 1, "encoding.batch_size", self.batch_size, "at least 1")
        require(self.dim is None or self.dim >= 1, "encoding.dim", self.dim, "at least 1")
        require(self.image_size is None or self.image_size >= 8, "encoding.image_size", self.image_size, "8 or more")
