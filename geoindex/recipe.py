"""What an index is made of, as dataclasses.

Every field is a key of a recipe file and a flag of `geoindex build`; its docstring is the flag's help.
"""

from dataclasses import dataclass, field
from typing import Literal

from geoindex.errors import ConfigError


@dataclass(frozen=True)
class EncoderRecipe:
    """How images become features; a key left out means what the model's own configuration says."""

    image_size: int | None = None
    """Side of the square input in pixels (the paper: 224)."""

    mean: tuple[float, float, float] | None = None
    """Channel means to subtract, of pixels in 0..1 (ImageNet: 0.485 0.456 0.406)."""

    std: tuple[float, float, float] | None = None
    """Channel deviations to divide by (ImageNet: 0.229 0.224 0.225)."""

    projection: Literal["none", "whiten"] = "none"
    """Linear map from features to embeddings, fitted on the gallery: none, or centre and whiten."""

    dim: int | None = None
    """Dimensions that the projection keeps; left out: as many as the features have."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the forward pass; auto: bfloat16 on a GPU that has it, float32 elsewhere."""

    batch_size: int = 32
    """Images a forward pass."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "encoding.batch_size", self.batch_size, "at least 1")
        require(self.dim is None or self.dim >= 1, "encoding.dim", self.dim, "at least 1")
        require(self.image_size is None or self.image_size >= 8, "encoding.image_size", self.image_size, "8 or more")


@dataclass(frozen=True)
class GeocellRecipe:
    """How the Earth is divided; the paper: OPTICS over positions, then Voronoi (section 3.3)."""

    method: Literal["optics", "hdbscan", "quadtree", "balanced", "grid"] = "optics"
    """optics (the paper) or hdbscan: centroids of density clusters as Voronoi sites; quadtree: boxes cut in four, as
    OSV-5M; balanced: cells of equal count, cut by great circles; grid: H3 hexagons."""

    within: str = ""
    """Keep cells inside the borders of a label, such as country; where the source has no such label, the country,
    region or city of the nearest named place. Empty: no borders."""

    source: str = ""
    """Source of the positions (the paper: another 100k images); empty: the gallery's own."""

    min_samples: tuple[int, ...] = (3, 5, 10, 20)
    """OPTICS and HDBSCAN neighbourhood sizes to try, each with a flag of its own."""

    xi: tuple[float, ...] = (0.01, 0.03, 0.05, 0.1, 0.2)
    """OPTICS steepness thresholds to try, each with a flag of its own."""

    min_cells: int | None = None
    """Fewest cells to accept; left out: half the square root of the number of positions."""

    max_cells: int | None = None
    """Most cells to accept; left out: twice the square root of the number of positions."""

    n_cells: int | None = None
    """Exactly this many cells (the paper: 174), instead of a range; the quadtree comes as near as it can from below,
    the grid has one number a resolution, and within borders every label has one cell at least. min_cells and
    max_cells are not looked at then."""

    max_positions: int = 200_000
    """Positions that OPTICS and HDBSCAN see; of more, a seeded sample that leaves no region out, and the rest goes to
    the nearest centroid."""

    split_above: int | None = None
    """Quadtree: cut boxes with more positions than this (OSV-5M: 1000); left out: what fits the range of cells."""

    max_depth: int = 10
    """Quadtree: cuts down to the smallest box (OSV-5M: 10)."""

    def __post_init__(self) -> None:
        require(
            bool(self.min_samples) and min(self.min_samples) >= 2,
            "geocells.min_samples",
            self.min_samples,
            "2 or more",
        )
        require(bool(self.xi) and min(self.xi) > 0 and max(self.xi) < 1, "geocells.xi", self.xi, "between 0 and 1")
        require(self.max_positions >= 1, "geocells.max_positions", self.max_positions, "at least 1")
        for key in ("n_cells", "max_cells"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"geocells.{key}", value, "at least 1")
        require(
            self.split_above is None or self.split_above >= 1, "geocells.split_above", self.split_above, "1 or more"
        )
        require(0 <= self.max_depth <= 30, "geocells.max_depth", self.max_depth, "0 to 30")
        low = 1 if self.min_cells is None else self.min_cells
        high = low if self.max_cells is None else self.max_cells
        require(1 <= low <= high, "geocells.min_cells", self.min_cells, "at least 1 and at most max_cells")


@dataclass(frozen=True)
class ClusterRecipe:
    """How a cell is divided into clusters: the same method again (paper section 3.3)."""

    min_samples: tuple[int, ...] = (2, 3, 5)
    """OPTICS neighbourhood sizes to try, each with a flag of its own."""

    xi: tuple[float, ...] = (0.01, 0.05, 0.15)
    """OPTICS steepness thresholds to try, each with a flag of its own."""

    min_clusters: int = 5
    """Fewest clusters of a cell that has as many distinct positions."""

    max_clusters: int = 100
    """Most clusters of a cell."""

    images_per_cluster: int = 3
    """Images that a cell must hold for each cluster beyond the fewest."""

    levels: int = 1
    """How often a cell is divided, each time inside what the last one made; a search looks at the finest clusters."""

    def __post_init__(self) -> None:
        require(
            bool(self.min_samples) and min(self.min_samples) >= 2,
            "clusters.min_samples",
            self.min_samples,
            "2 or more",
        )
        require(bool(self.xi) and min(self.xi) > 0 and max(self.xi) < 1, "clusters.xi", self.xi, "between 0 and 1")
        require(
            1 <= self.min_clusters <= self.max_clusters,
            "clusters.min_clusters",
            self.min_clusters,
            "1..max_clusters",
        )
        require(self.images_per_cluster >= 1, "clusters.images_per_cluster", self.images_per_cluster, "at least 1")
        require(self.levels >= 1, "clusters.levels", self.levels, "at least 1")


@dataclass(frozen=True)
class TrainingRecipe:
    """How geo-embeddings are learned (paper sections 3.2 and 3.4)."""

    method: Literal["none", "features"] = "none"
    """none: prototypes, the means of their images' embeddings; features: projection and geo-embeddings are fitted on
    the stored features, the encoder stays as it is."""

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
class SearchRecipe:
    """How a query is answered."""

    top_cells: int = 16
    """Cells that the first stage hands to the second."""

    rule: Literal["auto", "nearest", "posterior", "distance", "score"] = "auto"
    """Which point answers: of the nearest or the most probable cluster, or with the least expected km or the largest
    expected GeoScore; auto: chosen on validation, score without one."""

    prior: Literal["auto", "on", "off"] = "auto"
    """Weigh cells by their share of the gallery; auto: chosen on validation, off without one."""

    def __post_init__(self) -> None:
        require(self.top_cells >= 1, "search.top_cells", self.top_cells, "at least 1")


@dataclass(frozen=True)
class Recipe:
    """What an index is made of."""

    source: str = ""
    """A folder, a table, photos:DIR, osv5m:ROOT?split=train, synthetic:N?seed=S, planted:N?dim=D."""

    column: tuple[str, ...] = ()
    """Columns of a table by meaning, each with a flag of its own: lat=NAME, lon=NAME, image=NAME, id=NAME, ..."""

    sample: int | None = None
    """Use only this many samples of the source."""

    balance: Literal["uniform", "area", "cover"] = "uniform"
    """Draw them uniformly, evenly over the area that the source covers, or uniformly but for a tenth that goes to
    places of which none would be drawn."""

    split_by: str = "ratio"
    """ratio, none, block (geographic), or a label: author, sequence, country, city, ..."""

    split_ratio: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of gallery (train), validation and test."""

    block_km: float = 100.0
    """Size of a geographic block in km, for block of split_by."""

    seed: int = 0
    """Seed of every random choice."""

    encoder: str = "auto"
    """open_clip:MODEL/PRETRAINED, timm:MODEL, a folder with config.json and model.safetensors, or auto: open_clip's
    ViT-B-32 of LAION-2B where its weights can be had, else an untrained transformer, with a warning."""

    weights: str = ""
    """Checkpoint file (.safetensors, .pt) for the encoder; empty: the weights that its name stands for."""

    out: str = ""
    """Folder of the index; empty: beside the recipe file, or indexes/ and the source's name."""

    encoding: EncoderRecipe = field(default_factory=EncoderRecipe)
    geocells: GeocellRecipe = field(default_factory=GeocellRecipe)
    clusters: ClusterRecipe = field(default_factory=ClusterRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    search: SearchRecipe = field(default_factory=SearchRecipe)

    def __post_init__(self) -> None:
        require(self.sample is None or self.sample >= 1, "sample", self.sample, "at least 1")
        require(self.block_km > 0, "block_km", self.block_km, "positive")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        shares = self.split_ratio
        require(
            min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6 and shares[0] > 0,
            "split_ratio",
            shares,
            "three shares that sum to 1, the first above 0",
        )

    @property
    def columns(self) -> dict[str, str]:
        """Columns of a table by meaning, parsed from `column`."""
        pairs = [entry.partition("=") for entry in self.column]
        for meaning, equals, name in pairs:
            require(bool(meaning and equals and name), "column", meaning + equals + name, "MEANING=NAME, as lat=y")
        return {meaning.strip(): name.strip() for meaning, _, name in pairs}


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """Refuse a value that a recipe's key cannot have.

    Raises:
        ConfigError: unless `holds`.
    """
    if not holds:
        raise ConfigError(f"Recipe key '{key}' is {value!r}; it must be {wanted}.")
