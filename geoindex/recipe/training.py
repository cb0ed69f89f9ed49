"""How geo-embeddings are learned, and how the encoder is."""

from dataclasses import dataclass
from typing import Literal

from geoindex.recipe.checks import require


@dataclass(frozen=True)
class TrainingRecipe:
    """How geo-embeddings are learned (paper sections 3.2 and 3.4)."""

    method: Literal["auto", "none", "features", "images"] = "auto"
    """none: prototypes, the means of their images' embeddings; features: projection and geo-embeddings are fitted on
    the stored features, the encoder stays as it is; images: the encoder is fine-tuned with them, see finetuning; auto:
    features where the gallery has 1,000 images and validation 100, none elsewhere. Prototypes stay if no epoch of a fit
    is better on validation."""

    loss: Literal["cross_entropy", "expected_km"] = "cross_entropy"
    """Haversine loss: cross-entropy with labels that fall off with distance (the paper), or the expected distance."""

    epochs: int = 30
    """Passes over the gallery, at most."""

    patience: int = 6
    """Epochs without a better validation GeoScore after which the fit ends; the best epoch is kept."""

    lr: float = 1e-3
    """Learning rate of the geo-embeddings (the paper: 1e-3)."""

    projection_rate: float = 0.1
    """Learning rate of the projection, as a share of that."""

    weight_decay: float = 1e-4
    """Weight decay of projection and geo-embeddings."""

    clip: float = 1.0
    """Largest norm of a gradient."""

    places: int = 64
    """Groups of images of one cluster in a batch."""

    images: int = 4
    """Images of a group."""

    alpha: float = 0.5
    """Share of the contrastive loss (the paper's best: 0.5); 0 leaves it out."""

    temperature: float = 0.5
    """Temperature of the contrastive loss (the paper's best: 0.5)."""

    lambda_km: float = 100.0
    """Distance over which two images stop being near in the contrastive loss."""

    cell_tau_km: float | None = None
    """Distance over which a wrong cell stops being nearly right; left out: the spacing of the cells."""

    cluster_tau_km: float | None = None
    """The same of clusters."""

    def __post_init__(self) -> None:
        for key in ("epochs", "patience", "places", "images"):
            require(getattr(self, key) >= 1, f"training.{key}", getattr(self, key), "at least 1")
        for key in ("lr", "clip", "temperature", "lambda_km"):
            require(getattr(self, key) > 0, f"training.{key}", getattr(self, key), "positive")
        for key in ("cell_tau_km", "cluster_tau_km"):
            value = getattr(self, key)
            require(value is None or value > 0, f"training.{key}", value, "positive")
        for key in ("projection_rate", "weight_decay"):
            require(getattr(self, key) >= 0, f"training.{key}", getattr(self, key), "0 or more")
        require(0 <= self.alpha <= 1, "training.alpha", self.alpha, "0 to 1")


@dataclass(frozen=True)
class FineTuningRecipe:
    """How the encoder learns from images, where training.method is images (paper section 4)."""

    weights: Literal["frozen", "last", "lora", "all"] = "last"
    """Which weights of the encoder learn: none, those of the last blocks, low-rank additions (LoRA), or all."""

    blocks: int = 2
    """Last: blocks of the encoder that learn, with what follows them."""

    rank: int = 16
    """LoRA: rank of the additions."""

    lr: float = 1e-5
    """Learning rate of the encoder (the paper: 1e-7); that of the geo-embeddings is training.lr."""

    weight_decay: float = 0.05
    """Weight decay of the encoder's matrices; biases and norms have none."""

    warm_up: float = 0.1
    """Share of the steps in which learning rates grow; then they fall along half a cosine."""

    accumulate: int = 1
    """Batches whose gradients make one step."""

    ema: float = 0.0
    """Decay of a running mean of all weights, which is then what is validated and kept; 0 for none."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward pass; auto: bfloat16 where the device is faster with it."""

    compile: bool = False
    """Compile the encoder with torch.compile: minutes at the start, faster steps."""

    augment: float = 1.0
    """Strength of zoom, shift and light that training images are varied by; never mirrored, for text and the side of
    the road must stay; 0 for none."""

    balance: Literal["none", "cell", "country", "area"] = "none"
    """Draw images so that cells, countries or equal areas count alike, instead of each image once an epoch."""

    views: int = 1
    """Images of one place whose mean embedding counts as one more, so that several views can be asked together."""

    auxiliary: tuple[str, ...] = ()
    """Labels that are learned along: climate, land_cover, drive_side, month, country, ...; each with its own flag."""

    auxiliary_weight: float = 0.1
    """Weight of each of them beside the loss of the position."""

    workers: int | None = None
    """Processes that read images; left out: none on a CPU, up to 8 on a GPU. Scripts that start them need an
    `if __name__ == "__main__"` guard."""

    cache_gib: float = 8.0
    """Prepared images are kept on the disk while they fit into this, so that each is read once."""

    checkpoint_minutes: float = 10.0
    """Time between checkpoints."""

    def __post_init__(self) -> None:
        for key in ("blocks", "rank", "accumulate", "views"):
            require(getattr(self, key) >= 1, f"finetuning.{key}", getattr(self, key), "at least 1")
        for key in ("lr", "checkpoint_minutes"):
            require(getattr(self, key) > 0, f"finetuning.{key}", getattr(self, key), "positive")
        for key in ("weight_decay", "augment", "auxiliary_weight", "cache_gib"):
            require(getattr(self, key) >= 0, f"finetuning.{key}", getattr(self, key), "0 or more")
        require(0 <= self.warm_up < 1, "finetuning.warm_up", self.warm_up, "0 to less than 1")
        require(0 <= self.ema < 1, "finetuning.ema", self.ema, "0 to less than 1")
        require(self.workers is None or self.workers >= 0, "finetuning.workers", self.workers, "0 or more")
