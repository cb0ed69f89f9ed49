"""What the index is: its facts, cells, clusters, and small pictures of its photos."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from geoindex.errors import RequestError
from geoindex.server.dependencies import AskedCells, AskedEngine, AskedPictures
from geoindex.server.documents import CELLS, CLUSTER, FACTS, PICTURE, refusals
from geoindex.server.facts import cluster_facts, index_facts
from geoindex.server.policy import check_unrounded
from geoindex.server.representations import GEOJSON, JSON, accepted_type, json_response

router = APIRouter(prefix="/v1", tags=["index"])

JPEG = "image/jpeg"


@router.get("/index", responses=FACTS | refusals(406))
async def index(request: Request, engine: AskedEngine) -> Response:
    """Say what the index holds, and what the server allows."""
    kind = accepted_type(request, (JSON,))
    snapshot = await engine.in_thread(engine.index.live.get)
    return json_response(index_facts(snapshot.manifest, engine.settings), kind)


@router.get("/cells.geojson", responses=CELLS | refusals(403, 406))
async def cells(request: Request, engine: AskedEngine, cell_map: AskedCells) -> Response:
    """Return the geocells as polygons, with how many photos each holds and where."""
    kind = accepted_type(request, (GEOJSON, JSON))
    check_unrounded(engine.settings, "its cells")
    generation, geojson = await cell_map.geojson()
    tag = {"ETag": f'"{generation}"', "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag["ETag"]:
        return Response(status_code=304, headers=tag)
    return Response(geojson, headers=tag, media_type=kind)


@router.get("/clusters/{id}", responses=CLUSTER | refusals(403, 404, 406, 422))
async def cluster(request: Request, engine: AskedEngine, id: Annotated[int, Path(ge=0, lt=2**31)]) -> Response:
    """Say what is known of a cluster, by the id that candidates name."""
    kind = accepted_type(request, (JSON,))
    check_unrounded(engine.settings, "its clusters")
    snapshot = await engine.in_thread(engine.index.live.get)
    facts = cluster_facts(snapshot, id)
    if facts is None:
        raise RequestError(f"There is no cluster {id}; GET /v1/index says how many there are.", status=404)
    return json_response(facts, kind)


@router.get("/images/{id:path}/thumbnail", responses=PICTURE | refusals(403, 404, 406, 422, 429, 503))
async def thumbnail(request: Request, engine: AskedEngine, pictures: AskedPictures, id: str) -> Response:
    """Return a small picture of a stored photo, by the id that evidence names, if the operator shows them."""
    kind = accepted_type(request, (JPEG,))
    if not engine.settings.thumbnails:
        raise RequestError(
            "This server shows no stored photos; its operator may allow it with --thumbnails.", status=403
        )
    with engine.admit():
        jpeg = await engine.in_thread(pictures.jpeg, id)
    if jpeg is None:
        raise RequestError("There is no picture of this photo; ask for an id that evidence names.", status=404)
    return Response(jpeg, media_type=kind)
