"""The picture of a search: what is found against the time that it takes."""

from pathlib import Path
from typing import Any

from geoindex.figures.charts import GREEN, PURPLE, new_chart_page, number, set_log_scale, style_axes
from geoindex.figures.worldmap import INK, QUIET, save, write

COLOURS = {"geoindex": "#0072B2", "FAISS": GREEN, "usearch": PURPLE, "numpy": "#56B4E9", "LanceDB": "#E69F00"}
"""Of Okabe and Ito, by the first word of a search's name."""

PANELS = (("recall_plain", "plain queries"), ("recall_ambiguous", "ambiguous queries"))


def draw_latency(result: dict[str, Any], path: Path) -> None:
    """Draw recall of the ten nearest clusters against the median time, for each number of clusters."""
    rows = [row for row in result["rivals"] if "recall_plain" in row]
    sizes = sorted({row["size"][1] for row in rows})
    figure = new_chart_page(3.2 + 3.6 * len(sizes), "What a search finds, and how long it takes")
    write(figure, 0.03, 1.0 - 1.0 / figure.get_figheight(), _subtitle(result), size=12, color=QUIET, va="center")
    times = [row["p50_ms"] for row in rows]
    for place, size in enumerate(sizes):
        for column, (key, name) in enumerate(PANELS):
            axes = figure.add_subplot(len(sizes), 2, 2 * place + column + 1)
            _draw_panel(axes, [row for row in rows if row["size"][1] == size], key, (min(times), max(times)))
            axes.set_title(f"{number(size)} clusters, {name}", fontsize=13, color=INK, loc="left")
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.07, right=0.97, top=1 - 1.75 / height, bottom=0.85 / height, hspace=0.42, wspace=0.18)
    _legend(figure, sorted({row["name"].split()[0].rstrip(",") for row in rows}, key=list(COLOURS).index))
    save(figure, path)


def _draw_panel(axes: Any, rows: list[dict[str, Any]], key: str, times: tuple[float, float]) -> None:
    style_axes(axes)
    for word, colour in COLOURS.items():
        own = sorted((row for row in rows if row["name"].startswith(word)), key=lambda row: row["p50_ms"])
        for line in _families(own):
            x, y = [row["p50_ms"] for row in line], [row[key] for row in line]
            axes.plot(x, y, color=colour, marker="o", markersize=8 if word == "geoindex" else 6, linewidth=1.6)
    set_log_scale(axes, "x", times[0] / 1.6, times[1] * 1.6)
    axes.set(xlabel="median ms a query, one thread", ylabel="of the ten nearest found", ylim=(0.45, 1.03))
    axes.grid(axis="y", color="#E6EAED", linewidth=0.8)


def _families(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the rows that differ in one setting alone, together: those whose names have the same letters."""
    families: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault("".join(c for c in row["name"] if not c.isdigit()), []).append(row)
    return list(families.values())


def _legend(figure: Any, words: list[str]) -> None:
    left = 0.03
    for word in words:
        write(
            figure, left, 1.0 - 1.35 / figure.get_figheight(), f"●  {word}", size=12, color=COLOURS[word], va="center"
        )
        left += 0.045 + 0.011 * len(word)


def _subtitle(result: dict[str, Any]) -> str:
    return (
        "Planted embeddings of 768 numbers at Street View positions. geoindex: 4 to 64 cells probed, with "
        "probabilities; the others: nearest ten only."
    )
