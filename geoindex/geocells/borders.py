"""The labels whose borders cells keep to: what the source says of most positions, else what named places say."""

from collections.abc import Collection, Sequence

from geoindex.errors import ConfigError
from geoindex.geocells.partition import Labels
from geoindex.geocells.positions import Floats
from geoindex.places import nearest_labels
from geoindex.types import LABELS

NAMED = ("country", "region", "city")
"""Labels that the table of named places knows."""


def checked_label(within: str) -> str:
    """Return the name of a label that samples can carry.

    Raises:
        ConfigError: if there is no such label.
    """
    if within not in LABELS:
        raise ConfigError(f"Geocells cannot be kept within '{within}'; choose one of {', '.join(LABELS)}.")
    return within


def border_labels(within: str, known: Sequence[str | None], lat: Floats, lon: Floats) -> Labels:
    """Return the label of each position, (N,).

    Labels of the source are taken as they are, with None where it has none. If it has none for most of them, the
    country, region or city of all is that of the nearest named place: two ways of writing a country would be two
    countries.

    Args:
        within: name of the label.
        known: what the source says of each position, (N,).
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).

    Raises:
        ConfigError: if nobody knows such a label.
    """
    labelled = sum(map(bool, known))
    if 2 * labelled >= len(known) or (labelled and within not in NAMED):
        return known
    if within not in NAMED:
        raise ConfigError(
            f"Geocells within '{within}' need that label, and no position has it; take one of {', '.join(NAMED)}."
        )
    return nearest_labels(lat, lon, within)


def labels_among(kept: Collection[str], within: str, known: Sequence[str | None], lat: Floats, lon: Floats) -> Labels:
    """Return the label of each position, (N,), as cells have it that are there already; another one belongs to none.

    Args:
        kept: labels of the cells.
        within: name of the label.
        known: what the source says of each position, (N,); what it does not, the nearest named place says.
        lat: latitudes in degrees, (N,).
        lon: longitudes in degrees, (N,).
    """
    if within not in NAMED or all(label in kept for label in known):
        return known
    places = nearest_labels(lat, lon, within)
    return [label if label in kept else place for label, place in zip(known, places, strict=True)]
