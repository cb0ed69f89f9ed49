"""What an index is made of."""

from dataclasses import dataclass, field
from typing import Literal

from geoindex.recipe.checks import require
from geoindex.recipe.division import ClusterRecipe, GeocellRecipe
from geoindex.recipe.encoding import EncoderRecipe
from geoindex.recipe.training import FineTuningRecipe, TrainingRecipe


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
    """open_clip:MODEL/PRETRAINED, timm:MODEL, hf-hub:OWNER/NAME for a CLIP model of transformers, a folder with
    config.json and model.safetensors, or auto: open_clip's ViT-B-32 of LAION-2B where its weights can be had, else an
    untrained transformer, with a warning."""

    weights: str = ""
    """Checkpoint file (.safetensors, .pt) for the encoder; empty: the weights that its name stands for."""

    out: str = ""
    """Folder of the index; empty: beside the recipe file, or indexes/ and the source's name."""

    durability: Literal["durable", "fast"] = "durable"
    """durable: what was confirmed outlives a power cut, and damage is told by checksums; fast: an index that can be
    built again does not wait for the disk and has no checksums."""

    encoding: EncoderRecipe = field(default_factory=EncoderRecipe)
    geocells: GeocellRecipe = field(default_factory=GeocellRecipe)
    clusters: ClusterRecipe = field(default_factory=ClusterRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    finetuning: FineTuningRecipe = field(default_factory=FineTuningRecipe)
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
