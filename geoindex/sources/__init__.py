"""Where samples come from: photo folders, tables, OSV-5M, the synthetic Earth, planted embeddings."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoindex.sources.opening import open_source as open_source
    from geoindex.sources.source import LeftOut as LeftOut
    from geoindex.sources.source import Scan as Scan
    from geoindex.sources.source import Source as Source

__all__ = ["LeftOut", "Scan", "Source", "open_source"]

_HOMES = {"open_source": "opening", "LeftOut": "source", "Scan": "source", "Source": "source"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
