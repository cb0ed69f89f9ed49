"""Turns the EXIF of a photo into its position, heading, time and author, without decoding pixels."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

NO_GPS = "no GPS"
VOID = "GPS had no fix"
NO_HEMISPHERE = "GPS has no hemisphere"
NOT_A_NUMBER = "GPS is not a number"
OUT_OF_RANGE = "GPS is out of range"
ZERO = "GPS is 0, 0 (a common placeholder)"
UNREADABLE = "image cannot be read"
EMPTY = "file is empty"
NO_HEIC = "HEIC needs pip install 'geoindex[heic]'"

HEIC_SUFFIXES = frozenset({".heic", ".heif"})

# Numbers of the EXIF 2.32 standard, tables 4, 7 and 15.
_ARTIST, _DATE_TIME_ORIGINAL, _OFFSET_TIME_ORIGINAL, _EXIF_IFD, _GPS_IFD = 315, 36867, 36881, 34665, 34853
_LAT_REF, _LAT, _LON_REF, _LON, _TIME, _STATUS, _DIRECTION, _DATE = 1, 2, 3, 4, 7, 9, 17, 29

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # the reader of JPEG takes MPO too


class NoPositionError(ValueError):
    """A photo without a usable position; the text is the reason."""


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What EXIF tells about a photo.

    Attributes:
        lat: latitude in degrees.
        lon: longitude in degrees.
        heading_deg: direction of the camera, 0 to 360, if known.
        captured_at: ISO 8601, if known: UTC by GPS, else the camera's clock.
        author: name of the photographer, if known.
    """

    lat: float
    lon: float
    heading_deg: float | None = None
    captured_at: str | None = None
    author: str | None = None


def read_facts(path: Path) -> PhotoFacts:
    """Read what EXIF tells about the photo at `path`.

    Raises:
        NoPositionError: if it has no usable position, or is no image that can be opened.
    """
    try:
        main, exif, gps = _directories(path)
    except NoPositionError:
        raise
    except Exception as error:  # parsers raise anything on damaged files
        raise NoPositionError(UNREADABLE) from error
    lat, lon = parse_position(gps)
    return PhotoFacts(lat, lon, parse_heading(gps), parse_moment(gps, exif), _text(main.get(_ARTIST)) or None)


def parse_position(gps: Mapping[int, Any]) -> tuple[float, float]:
    """Return (lat, lon) in degrees from the tags of a GPS directory.

    Args:
        gps: values by tag number; angles are degrees, degrees and minutes, or degrees, minutes and seconds.

    Raises:
        NoPositionError: if a part is missing, not a number, out of range, a placeholder, or without a fix.
    """
    if _LAT not in gps or _LON not in gps:
        raise NoPositionError(NO_GPS)
    if _text(gps.get(_STATUS)).upper() == "V":
        raise NoPositionError(VOID)
    lat = _signed(gps[_LAT], _text(gps.get(_LAT_REF)).upper()[:1], "NS", 90.0)
    lon = _signed(gps[_LON], _text(gps.get(_LON_REF)).upper()[:1], "EW", 180.0)
    if lat == 0.0 and lon == 0.0:
        raise NoPositionError(ZERO)
    return lat, lon


def parse_heading(gps: Mapping[int, Any]) -> float | None:
    """Return the direction of the camera in degrees, 0 included to 360 excluded; None if it is not known."""
    heading = _number(gps.get(_DIRECTION))
    return heading % 360.0 if 0.0 <= heading <= 360.0 else None


def parse_moment(gps: Mapping[int, Any], exif: Mapping[int, Any]) -> str | None:
    """Return when the photo was taken, ISO 8601: by GPS (UTC), else by the camera's clock; None if unknown."""
    try:
        return _gps_moment(gps)
    except (ValueError, TypeError, OverflowError):
        pass
    try:
        moment = datetime.strptime(_text(exif.get(_DATE_TIME_ORIGINAL))[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    offset = _text(exif.get(_OFFSET_TIME_ORIGINAL))
    return moment.isoformat() + (offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "")


def _directories(path: Path) -> tuple[Mapping[int, Any], Mapping[int, Any], Mapping[int, Any]]:
    """Return the main, the EXIF and the GPS directory of a photo."""
    from PIL import Image

    if path.stat().st_size == 0:
        raise NoPositionError(EMPTY)
    is_heic = path.suffix.lower() in HEIC_SUFFIXES
    if is_heic and not _heic_opens():
        raise NoPositionError(NO_HEIC)
    with Image.open(path, formats=(*_FORMATS, "HEIF") if is_heic else _FORMATS) as image:
        exif = image.getexif()
        return dict(exif), exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD)


def _heic_opens() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _signed(value: Any, hemisphere: str, signs: str, limit: float) -> float:
    if not hemisphere or hemisphere not in signs:
        raise NoPositionError(NO_HEMISPHERE)
    raw = list(value) if isinstance(value, (tuple, list)) else [value]
    if len(raw) == 3 and _is_unset(raw[2]):
        raw.pop()
    parts = [_number(part) for part in raw]
    if not 1 <= len(parts) <= 3 or not all(math.isfinite(part) for part in parts):
        raise NoPositionError(NOT_A_NUMBER)
    degrees = sum(part / 60.0**place for place, part in enumerate(parts))
    if degrees > limit or min(parts) < 0.0 or max(parts[1:], default=0.0) > 60.0:
        raise NoPositionError(OUT_OF_RANGE)
    return degrees if hemisphere == signs[0] else -degrees


def _is_unset(value: Any) -> bool:
    """Tell whether a rational is 0/0, as some cameras write seconds that they do not measure."""
    if isinstance(value, (tuple, list)):
        return list(value) == [0, 0]
    return getattr(value, "numerator", None) == 0 and getattr(value, "denominator", None) == 0


def _number(value: Any) -> float:
    """Return a rational, a (numerator, denominator) or a number as float; NaN if it is none."""
    try:
        if isinstance(value, (tuple, list)):
            numerator, denominator = value
            return float(numerator) / float(denominator)
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return math.nan


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.replace("\0", " ").strip() if isinstance(value, str) else ""


def _gps_moment(gps: Mapping[int, Any]) -> str:
    day = date(*(int(part) for part in re.split(r"[:\-/]", _text(gps.get(_DATE)))))
    if _TIME not in gps:
        return day.isoformat()
    hour, minute, second = (int(_number(part)) for part in gps[_TIME])
    return datetime(day.year, day.month, day.day, hour, minute, second).isoformat() + "Z"
