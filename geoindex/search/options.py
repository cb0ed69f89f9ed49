"""How a query is answered, as its caller asks for it."""

from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, TypedDict

from geoindex.errors import ConfigError
from geoindex.estimate import check_rule
from geoindex.search.region import Region, parse_region

REFINEMENTS = (None, "images")
FINEST_KM = 0.001
"""Least `max_precision_km`."""

COARSEST_KM = 20_000
"""Most; no place on Earth is much farther."""


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """How to answer.

    Attributes:
        top_k: candidates to name.
        top_cells: most cells that are probed; None: the index's own number.
        top_p: fewer cells are probed once they hold this share of the probability.
        within: where the answer lies: south,west,north,east in degrees, a country, cells:1,2,3, or GeoJSON polygons as
            a file, a geometry or a shape. A cluster is inside if its centroid is; probabilities are those inside.
        refine: "images" moves the best candidates towards their stored images that are most like the query.
        rule: rule of estimation; None: the index's own.
        evidence: stored images to name.
        max_precision_km: round every point to this and name no evidence closer than it; None: do not round.
    """

    top_k: int = 5
    top_cells: int | None = None
    top_p: float = 1.0
    within: Region | None = None
    refine: Literal["images"] | None = None
    rule: str | None = None
    evidence: int = 5
    max_precision_km: float | None = None

    @property
    def plain(self) -> bool:
        """Whether the whole index answers as it was built to: what confidence was learned on."""
        return self.within is None and self.refine is None and self.top_p == 1 and self.top_cells is None

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, least in (("top_k", 1), ("top_cells", 1), ("evidence", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; it must be at least {least}.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; it must be above 0 and at most 1.")
        if self.rule is not None:
            check_rule(self.rule)
        if self.refine not in REFINEMENTS:
            raise ConfigError(f"refine is {self.refine!r}; it must be 'images' or None.")
        if self.max_precision_km is not None and not FINEST_KM <= self.max_precision_km <= COARSEST_KM:
            raise ConfigError(
                f"max_precision_km is {self.max_precision_km}; it must be from {FINEST_KM} to {COARSEST_KM}."
            )

    def _check_numbers(self) -> None:
        for name in ("top_k", "top_cells", "evidence", "top_p", "max_precision_km"):
            value, whole = getattr(self, name), name not in ("top_p", "max_precision_km")
            optional = name in ("top_cells", "max_precision_km") and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, Integral if whole else Real)):
                raise ConfigError(f"{name} is {value!r}; it must be a {'whole ' if whole else ''}number.")


DEFAULT_OPTIONS = QueryOptions()


class QueryKeywords(TypedDict, total=False):
    """Keywords of every query: the fields of `QueryOptions`."""

    top_k: int
    top_cells: int | None
    top_p: float
    within: Any
    refine: Literal["images"] | None
    rule: str | None
    evidence: int
    max_precision_km: float | None


def query_options(options: QueryKeywords) -> QueryOptions:
    """Build query options from keywords.

    Raises:
        ConfigError: if there is no such option, or it is not valid.
    """
    if not options:
        return DEFAULT_OPTIONS
    for name in options:
        if name not in QueryOptions.__dataclass_fields__:
            known = ", ".join(field.name for field in fields(QueryOptions))
            raise ConfigError(f"No query option '{name}'; known options: {known}.")
    chosen = QueryOptions(**options)
    return chosen if chosen.within is None else replace(chosen, within=parse_region(chosen.within))
