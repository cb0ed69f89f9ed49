"""One picture of one answer: photo, world, surroundings, candidates."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.figures.worldmap import (
    ANSWER,
    CANDIDATE,
    CIRCLE_POINTS,
    INK,
    PAGE_INCHES,
    QUIET,
    TRUTH,
    Extent,
    circle_ring,
    draw_world,
    great_circle,
    new_figure,
    save,
    turns,
    world_extent,
    write,
)
from geoindex.geo import KM_PER_DEGREE, haversine_km, wrap_lon
from geoindex.places import named_places, place_names
from geoindex.prediction import Candidate, Prediction
from geoindex.presentation import SHOWN_CANDIDATES, distance_text, position_text, spread_text

if TYPE_CHECKING:
    from PIL.Image import Image


_NUMBER_DEGREES = 6.0
_CITIES_TRIED, _CITIES_NAMED = 400, 9
_LETTER = 0.0115  # mean width of a letter of a city's name, in shares of the window
_TOP = 0.895  # of photo and world map, in page shares


def draw_prediction(
    prediction: Prediction,
    path: str | Path,
    *,
    truth: tuple[float, float] | None = None,
    image: "Image | None" = None,
    title: str | None = None,
) -> Path:
    """Draw where a photo was placed: the photo, the world, the surroundings of the answer and its candidates.

    Args:
        prediction: what the index answered.
        path: file to write (PNG, or what its suffix says); 1600 x 900 pixels.
        truth: the true position in degrees (lat, lon), if known.
        image: the query photo, upright.
        title: headline; by default a plain one.
    """
    figure = new_figure()
    shown = prediction.candidates[:SHOWN_CANDIDATES]
    write(figure, 0.025, 0.938, title or "Where was this photo taken?", size=21, weight="bold")
    top = _TOP if image is None else _draw_photo(figure, image, _TOP)
    _draw_facts(figure, prediction, truth, top)
    window = _window(prediction, truth)
    world = figure.add_axes((0.34, 0.44, 0.635, 0.455))
    lats = [prediction.lat, *(c.lat for c in shown), *([truth[0]] if truth else [])]
    draw_world(world, world_extent(lats))
    _draw_window(world, window)
    _draw_answer(world, prediction, truth, shown, zoomed=False)
    _draw_legend(figure, truth is not None)
    near = figure.add_axes((0.34, 0.04, 0.36, 0.315))
    draw_world(near, window, zoomed=True)
    _draw_cities(near, window, prediction, truth)
    _draw_answer(near, prediction, truth, shown, zoomed=True)
    _draw_scale(near, window)
    _draw_candidates(figure, shown)
    return save(figure, path)


def _window(prediction: Prediction, truth: tuple[float, float] | None) -> Extent:
    """Return the surroundings of the answer: near candidates, and the true place unless it is far away."""
    others = [(c.lat, c.lon) for c in prediction.candidates[:SHOWN_CANDIDATES]]
    lats, lons = np.array([(prediction.lat, prediction.lon), *others, *([truth] if truth else [])]).T
    distance_km = haversine_km(prediction.lat, prediction.lon, lats, lons)
    reach_km = float(np.clip(1.25 * distance_km[distance_km < 1500.0].max(), 300.0, 1800.0))
    north = reach_km / KM_PER_DEGREE
    east = north / max(math.cos(math.radians(prediction.lat)), 0.25) * (5.76 / 2.835)
    east = min(east, 180.0)
    middle = float(np.clip(prediction.lat, north - 90.0, 90.0 - north))
    return middle - north, middle + north, prediction.lon - east, prediction.lon + east


def _draw_window(axes: Any, window: Extent) -> None:
    south, north, west, east = window
    box = np.array([(south, west), (south, east), (north, east), (north, west), (south, west)])
    for line in turns(box):
        axes.plot(line[:, 1], line[:, 0], color=INK, linewidth=0.8, zorder=3)


def _draw_answer(
    axes: Any, prediction: Prediction, truth: tuple[float, float] | None, shown: Sequence[Candidate], zoomed: bool
) -> None:
    """Draw candidates, the way to the true place, the true place and, above all, the answer."""
    middle = prediction.lon if zoomed else 0.0
    grow = 1.5 if zoomed else 1.0
    _draw_radius(axes, prediction)
    numbered = set(_apart(shown, prediction, truth)) if not zoomed else {c.rank for c in shown}
    for candidate in reversed(shown):
        _draw_candidate(axes, candidate, middle, grow, candidate.rank in numbered)
    if truth:
        for part in great_circle(prediction.lat, prediction.lon, *truth):
            for line in turns(part):
                axes.plot(line[:, 1], line[:, 0], color=TRUTH, linewidth=1.6, linestyle=(0, (4, 2)), zorder=6)
        _mark(axes, truth[0], _near(truth[1], middle), "D", TRUTH, 65 * grow, 9)
    _mark(axes, prediction.lat, _near(prediction.lon, middle), "*", ANSWER, 360 * grow, 8)


def _near(lon: float, middle: float) -> float:
    return middle + float(wrap_lon(lon - middle))


def _mark(axes: Any, lat: float, lon: float, marker: str, colour: str, size: float, zorder: float) -> None:
    axes.scatter([lon], [lat], s=size, marker=marker, color=colour, edgecolors="white", linewidths=1.2, zorder=zorder)


def _apart(shown: Sequence[Candidate], prediction: Prediction, truth: tuple[float, float] | None) -> list[int]:
    """Return the ranks of candidates that have room for a number on the world map."""
    taken, ranks = [(prediction.lat, prediction.lon), *([truth] if truth else [])], []
    for candidate in shown:
        lats, lons = np.array(taken).T
        if np.hypot(lats - candidate.lat, wrap_lon(lons - candidate.lon)).min() > _NUMBER_DEGREES:
            ranks.append(candidate.rank)
        taken.append((candidate.lat, candidate.lon))
    return ranks


def _draw_candidate(axes: Any, candidate: Candidate, middle: float, grow: float, numbered: bool) -> None:
    lon = _near(candidate.lon, middle)
    size = grow * (70.0 + 500.0 * candidate.probability)
    style = {"color": CANDIDATE, "alpha": 0.75, "edgecolors": INK, "linewidths": 0.7}
    axes.scatter([lon], [candidate.lat], s=size, zorder=5, **style)
    if numbered:
        centred = {"ha": "center", "va": "center_baseline", "clip_on": True}
        write(axes, lon, candidate.lat, str(candidate.rank), 8 * math.sqrt(grow), zorder=5, **centred)


def _draw_radius(axes: Any, prediction: Prediction) -> None:
    """Draw the circle that holds half of the probability, where the map has room for it."""
    south, north = axes.get_ylim()
    if prediction.radius_km > KM_PER_DEGREE * (north - south) / 2.0:
        return
    for ring in turns(circle_ring(prediction.lat, prediction.lon, prediction.radius_km)):
        axes.fill(ring[:, 1], ring[:, 0], facecolor=ANSWER, alpha=0.10, edgecolor="none", zorder=3)
        axes.plot(ring[:CIRCLE_POINTS, 1], ring[:CIRCLE_POINTS, 0], color=ANSWER, linewidth=1.0, zorder=3)


def _draw_photo(figure: Any, image: "Image", top: float) -> float:
    """Draw the photo below `top` at the left; return where the free space below it begins."""
    picture = image.convert("RGB")
    picture.thumbnail((1000, 1000))
    width, height = 0.29, 0.41
    shape = picture.height / picture.width * PAGE_INCHES[0] / PAGE_INCHES[1]  # height over width in page shares
    width, height = min(width, height / shape), min(height, width * shape)
    axes = figure.add_axes((0.025, top - height, width, height))
    axes.imshow(np.asarray(picture), aspect="auto")
    axes.set_axis_off()
    return top - height - 0.045


def _draw_facts(figure: Any, prediction: Prediction, truth: tuple[float, float] | None, top: float) -> None:
    """Write predicted place, true place and error below each other at the left."""
    blocks = [("PREDICTED PLACE", ANSWER, prediction.place, position_text(prediction.lat, prediction.lon))]
    if truth:
        blocks.append(("TRUE PLACE", TRUTH, place_names(*truth)[0], position_text(*truth)))
    for label, colour, place, position in blocks:
        write(figure, 0.025, top, label, 9.5, color=colour, weight="bold", va="top")
        lines = textwrap.wrap(place, 36, max_lines=2, placeholder=" …")
        write(figure, 0.025, top - 0.024, "\n".join(lines), 14, va="top", linespacing=1.15)
        top -= 0.028 + 0.032 * len(lines)
        write(figure, 0.025, top, position, 10.5, color=QUIET, va="top")
        top -= 0.048
    if truth:
        _draw_error(figure, float(haversine_km(prediction.lat, prediction.lon, *truth)), top)
        top -= 0.088
    write(figure, 0.025, max(top, 0.04), _certainty(prediction), 10.5, color=QUIET, va="top", linespacing=1.4)


def _draw_error(figure: Any, error_km: float, top: float) -> None:
    write(figure, 0.025, top, "ERROR", 9.5, color=QUIET, weight="bold", va="top")
    write(figure, 0.025, top - 0.022, distance_text(error_km), 23, weight="bold", va="top")


def _certainty(prediction: Prediction) -> str:
    lines = [spread_text(prediction).capitalize()]
    chances = [f"{chance:.0%} within {radius} km" for radius, chance in (prediction.within_km or {}).items()]
    if prediction.between_candidates:
        lines.append("No single place is likely enough:\nthe answer lies between the candidates")
    if prediction.confidence is not None:
        lines.insert(0, "\n".join(chances) or f"Confidence {prediction.confidence:.0%}")
    return "\n".join(lines)


def _draw_legend(figure: Any, with_truth: bool) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D

    def entry(label: str, **style: Any) -> Any:
        return Line2D([], [], label=label, **({"linestyle": "none", "markeredgecolor": "white"} | style))

    entries = [entry("predicted", marker="*", color=ANSWER, markersize=17)]
    if with_truth:
        entries.append(entry("true place", marker="D", color=TRUTH, markersize=9))
        entries.append(entry("shortest way", color=TRUTH, linestyle=(0, (4, 2)), linewidth=1.6))
    entries.append(
        entry("candidate (larger: more probable)", marker="o", color=CANDIDATE, markersize=12, markeredgecolor=INK)
    )
    circle = {"marker": "o", "markersize": 15, "color": (*to_rgb(ANSWER), 0.15), "markeredgecolor": ANSWER}
    entries.append(entry("holds half of the probability", **circle))
    figure.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(0.335, 0.425),
        ncols=5,
        frameon=False,
        fontsize=10.5,
        labelcolor=INK,
        handletextpad=0.5,
        columnspacing=1.8,
        borderaxespad=0.0,
    )


def _draw_candidates(figure: Any, shown: Sequence[Candidate]) -> None:
    """List candidates with their probabilities at the lower right."""
    axes = figure.add_axes((0.722, 0.04, 0.253, 0.315))
    axes.set(xlim=(0.0, 1.0), ylim=(SHOWN_CANDIDATES - 0.3, -0.9))
    axes.set_axis_off()
    write(axes, 0.0, -0.75, "CANDIDATES", 9.5, color=QUIET, weight="bold", va="center")
    most = max((c.probability for c in shown), default=1.0) or 1.0
    for row, candidate in enumerate(shown):
        axes.barh(row, candidate.probability / most, height=0.78, color=CANDIDATE, alpha=0.30, linewidth=0)
        place = textwrap.shorten(candidate.place, 42, placeholder=" …")
        write(axes, 0.015, row, str(candidate.rank), 10, weight="bold", va="center")
        write(axes, 0.065, row, place, 10, va="center")
        write(axes, 1.0, row, f"{candidate.probability:.1%}", 10, va="center", ha="right")


def _draw_cities(axes: Any, window: Extent, prediction: Prediction, truth: tuple[float, float] | None) -> None:
    """Name the largest places of a window where there is room beside what is drawn there anyway."""
    south, north, west, east = window
    places = named_places()
    marks = [(c.lat, c.lon) for c in prediction.candidates[:SHOWN_CANDIDATES]] + ([truth] if truth else [])
    lats, lons = np.array([(prediction.lat, prediction.lon), *marks]).T

    def on_page(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
        x = (prediction.lon + wrap_lon(lon - prediction.lon) - west) / (east - west)
        return np.stack([x, (lat - south) / (north - south)], axis=-1)  # shares of the window

    spots = on_page(places.lat, places.lon)
    fits = ((spots > [0.01, 0.04]) & (spots < [0.84, 0.93])).all(axis=1) & ~(spots < [0.28, 0.2]).all(axis=1)
    rows = np.flatnonzero(fits)
    rows = rows[np.argsort(-places.population[rows], kind="stable")][:_CITIES_TRIED]
    for row in _with_room(spots, rows, on_page(lats, lons), places.city):
        at = (prediction.lon + float(wrap_lon(places.lon[row] - prediction.lon)), places.lat[row])
        axes.scatter(*at, s=7, color=QUIET, linewidths=0, zorder=4)
        style = {"fontsize": 8.5, "color": QUIET, "zorder": 4, "parse_math": False}
        axes.annotate(places.city[row], at, (4, 2), textcoords="offset points", **style)


def _with_room(
    spots: NDArray[np.float64], rows: NDArray[np.int64], marks: NDArray[np.float64], names: Sequence[str]
) -> list[int]:
    """Return the first rows whose name, to the right of the spot, stays clear of marks and of other names."""
    kept: list[int] = []
    for row in rows.tolist():
        right, up = (marks - spots[row]).T
        width = 0.01 + _LETTER * len(names[row])
        hidden = (right > -0.04) & (right < width + 0.03) & (np.abs(up) < 0.07)
        crossing = np.abs(spots[kept] - spots[row]) < [max(width, 0.17), 0.09]
        if spots[row, 0] + width < 1.0 and not hidden.any() and not crossing.all(axis=1).any():
            kept.append(row)
        if len(kept) == _CITIES_NAMED:
            break
    return kept


def _draw_scale(axes: Any, window: Extent) -> None:
    """Draw a bar of a round length at the lower left."""
    south, north, west, east = window
    degree_km = KM_PER_DEGREE * math.cos(math.radians((south + north) / 2.0))
    wanted = 0.22 * (east - west) * degree_km
    length_km = max(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if step <= max(wanted, 1.0))
    x, y = west + 0.025 * (east - west), south + 0.06 * (north - south)
    axes.plot([x, x + length_km / degree_km], [y, y], color=INK, linewidth=2.0, solid_capstyle="butt", zorder=7)
    write(axes, x, y + 0.025 * (north - south), f"{length_km:,} km", 9, zorder=7)
