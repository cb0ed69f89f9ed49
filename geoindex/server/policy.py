"""What a server with `max_precision_km` tells: nothing finer, whatever options ask for.

Rounding hides where in a tile an answer lies. It is no secret from someone who sends a photo in a great many slightly
different versions and watches where answers cross from one tile to the next.
"""

from dataclasses import replace
from pathlib import PurePath

from geoindex.errors import RequestError
from geoindex.prediction import Evidence, Prediction
from geoindex.search.answer import blur
from geoindex.search.options import QueryOptions
from geoindex.server.settings import ServerSettings


def allowed_options(options: QueryOptions, settings: ServerSettings) -> QueryOptions:
    """Return the options by which a query is answered.

    Raises:
        RequestError: if one would tell more than the server may: answers in ever smaller regions close in on a point.
    """
    precision_km = settings.max_precision_km
    if precision_km is None:
        return options
    if options.within is not None:
        raise RequestError(
            f"within is not allowed here: this server rounds its answers to {precision_km:g} km.", status=403
        )
    return replace(options, max_precision_km=precision_km)


def allowed_answer(prediction: Prediction, options: QueryOptions, settings: ServerSettings) -> Prediction:
    """Return what is told of an answer to `allowed_options`; what is to be coarser is rounded once more.

    Rounding what was rounded tells nothing new, while tiles of several widths around one point would overlap in less.
    """
    prediction = replace(prediction, evidence=tuple(map(_without_folder, prediction.evidence)))
    wanted_km, precision_km = options.max_precision_km, settings.max_precision_km
    if wanted_km is None or precision_km is None or wanted_km <= precision_km:
        return prediction
    return blur(prediction, wanted_km)


def _without_folder(evidence: Evidence) -> Evidence:
    """Withhold a path that would name folders of the server."""
    return replace(evidence, image="") if PurePath(evidence.image).is_absolute() else evidence


def check_unrounded(settings: ServerSettings, what: str) -> None:
    """Refuse to tell what would undo the rounding.

    Raises:
        RequestError: if the server rounds.
    """
    if settings.max_precision_km is not None:
        raise RequestError(
            f"This server rounds its answers to {settings.max_precision_km:g} km and does not tell {what}.", status=403
        )
