"""How the Earth is divided into cells, and cells into clusters."""

from dataclasses import dataclass
from typing import Literal

from geoindex.recipe.checks import require


@dataclass(frozen=True)
class GeocellRecipe:
    """How the Earth is divided; the paper: OPTICS over positions, then Voronoi (section 3.3)."""

    method: Literal["optics", "hdbscan", "quadtree", "balanced", "grid"] = "optics"
    """optics (the paper) or hdbscan: centroids of density clusters as Voronoi sites; quadtree: boxes cut in four, as
    OSV-5M; balanced: cells of equal count, cut by great circles; grid: H3 hexagons."""

    within: str = ""
    """Keep cells inside the borders of a label, such as country; where the source has no such label for most photos,
    the country, region or city of the nearest named place. Empty: no borders."""

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
