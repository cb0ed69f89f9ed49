"""What routes are given beside their request; all of it without a thread, which costs more than the rest."""

from typing import Annotated

from fastapi import Depends, Query, Request

from geoindex.search.options import QueryOptions
from geoindex.server.cells import CellMap
from geoindex.server.engine import Engine
from geoindex.server.parameters import QueryParameters
from geoindex.server.pictures import Pictures


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _cells(request: Request) -> CellMap:
    cells: CellMap = request.app.state.cells
    return cells


async def _pictures(request: Request) -> Pictures:
    pictures: Pictures = request.app.state.pictures
    return pictures


AskedEngine = Annotated[Engine, Depends(_engine)]


async def _options(parameters: Annotated[QueryParameters, Query()], engine: AskedEngine) -> QueryOptions:
    """Return the options of a query; regions take their time, so they are read beside the event loop."""
    return parameters.options() if parameters.within is None else await engine.in_thread(parameters.options)


AskedCells = Annotated[CellMap, Depends(_cells)]
AskedPictures = Annotated[Pictures, Depends(_pictures)]
AskedOptions = Annotated[QueryOptions, Depends(_options)]
