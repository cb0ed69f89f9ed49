"""The options of a query as parameters of an address."""

from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from geoindex.search.options import COARSEST_KM, FINEST_KM, QueryKeywords, QueryOptions, query_options
from geoindex.search.region import region_of_text

MAX_TOP_K, MAX_EVIDENCE, MAX_CELLS, MAX_WITHIN = 100, 50, 100_000, 8000


class QueryParameters(BaseModel):
    """The fields of `QueryOptions`, with bounds for strangers."""

    model_config = ConfigDict(extra="forbid")

    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="Candidates to name.")
    top_cells: int | None = Field(None, ge=1, le=MAX_CELLS, description="Most cells that are probed.")
    top_p: float = Field(1.0, gt=0, le=1, description="Probe fewer cells once they hold this share of the probability.")
    within: str | None = Field(
        None,
        max_length=MAX_WITHIN,
        description="Where the answer lies: south,west,north,east in degrees, a country, cells:1,2,3, or GeoJSON.",
    )
    refine: Literal["images"] | None = Field(
        None, description="Move the best candidates towards their stored images that are most like the query."
    )
    rule: Literal["nearest", "posterior", "distance", "score"] | None = Field(None, description="Rule of estimation.")
    evidence: int = Field(5, ge=0, le=MAX_EVIDENCE, description="Stored images to name.")
    max_precision_km: float | None = Field(None, ge=FINEST_KM, le=COARSEST_KM, description="Round every point to this.")

    def options(self) -> QueryOptions:
        """Return them as the library takes them; a region never names a file of the server.

        Raises:
            ConfigError: if one is not valid.
        """
        keywords = cast("QueryKeywords", self.model_dump())
        if self.within is not None:
            keywords["within"] = region_of_text(self.within)
        return query_options(keywords)
