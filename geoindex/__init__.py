"""Where on Earth was this photo taken? An embedding database with retrieval-based geolocation.

Example::

    import geoindex

    report = geoindex.build_index("photos/", out="indexes/mine")
    index = geoindex.open_index(report.path)
    print(index.query_image("beach.jpg"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoindex.version import VERSION

if TYPE_CHECKING:
    from geoindex.assembly.report import BuildReport as BuildReport
    from geoindex.errors import GeoindexError as GeoindexError
    from geoindex.evaluation.protocol import evaluate as evaluate
    from geoindex.index import GeoIndex as GeoIndex
    from geoindex.index import open_index as open_index
    from geoindex.index import query_image as query_image
    from geoindex.pipeline import build_index as build_index
    from geoindex.prediction import Prediction as Prediction
    from geoindex.rebuilding import rebuild_index as rebuild_index
    from geoindex.recipe import Recipe as Recipe
    from geoindex.search.options import QueryOptions as QueryOptions
    from geoindex.survey import survey_positions as survey_positions
    from geoindex.transfer import clone_index as clone_index
    from geoindex.transfer import export_index as export_index
    from geoindex.transfer import import_index as import_index

__version__ = VERSION

_HOMES = {
    "BuildReport": "assembly.report",
    "GeoIndex": "index",
    "GeoindexError": "errors",
    "Prediction": "prediction",
    "QueryOptions": "search.options",
    "Recipe": "recipe",
    "build_index": "pipeline",
    "clone_index": "transfer",
    "evaluate": "evaluation.protocol",
    "export_index": "transfer",
    "import_index": "transfer",
    "open_index": "index",
    "query_image": "index",
    "rebuild_index": "rebuilding",
    "survey_positions": "survey",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geoindex' has no attribute {name!r}")
    return getattr(import_module(f"geoindex.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
