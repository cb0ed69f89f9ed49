"""A small world of coloured tiles: the colour of a photo tells where it was taken."""

import csv

import numpy as np
from PIL import Image

import geoindex
from geoindex.geo import haversine_km, to_unit
from geoindex.store.generations import IndexFolder
from geoindex.store.schemas import vectors_from_arrow

TINY_ENCODER = (
    "timm:vit_tiny_patch16_224/random?img_size=16&patch_size=8&depth=1&embed_dim=32&num_heads=2&global_pool=avg&seed=0"
)
OTHER_ENCODER = TINY_ENCODER.replace("seed=0", "seed=1")

HUBS = {
    "nl": (52.0, 5.0),
    "us": (40.0, -100.0),
    "br": (-23.0, -46.0),
    "za": (-30.0, 25.0),
    "in": (20.0, 78.0),
    "jp": (36.0, 139.0),
    "au": (-33.0, 150.0),
    "ak": (64.0, -150.0),
}
"""Latitude and longitude of the places where tiles are taken, far from each other."""

PER_HUB = 12
HEADER = ("image", "latitude", "longitude", "country", "author")
KEYS = {"encoder": TINY_ENCODER, "encoding": {"device": "cpu"}}
"""Keys of the recipe that every test builds with."""


def tile(lat, lon):
    """Return a photo of a place: smooth in its position, another colour everywhere."""
    colour = tuple(round(value) for value in 127.5 + 120.0 * to_unit(lat, lon))
    return Image.new("RGB", (24, 24), colour)


def save_tile(path, lat, lon, **options):
    """Write a photo of a place as JPEG and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tile(lat, lon).save(path, "JPEG", quality=95, **options)
    return path


def world_rows(per_hub=PER_HUB, seed=0):
    """Return rows (image, lat, lon, country, author) of tiles scattered 150 km around the hubs."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, (country, (lat, lon)) in enumerate(HUBS.items()):
        for copy, (dlat, dlon) in enumerate(rng.normal(0.0, 1.3, (per_hub, 2))):
            author = f"author{(number * per_hub + copy) % 24:02d}"
            rows.append((f"{country}-{copy:02d}.jpg", lat + dlat, lon + dlon, country, author))
    return rows


def write_table(path, rows, header=HEADER):
    """Write a CSV table and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_world(folder, rows):
    """Write tiles and their metadata.csv; return the table's path."""
    for name, lat, lon, *_ in rows:
        save_tile(folder / name, lat, lon)
    return write_table(folder / "metadata.csv", rows)


def snapshot(folder):
    """Return name, size and time of every file below a folder."""
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()
    }


def points(index, photos):
    """Return what an index answers, without what differs between runs."""
    answers = index.query_images(photos)
    return [(a.lat, a.lon, a.place, a.rule, a.candidates, a.evidence) for a in answers]


PHOTOS = [tile(lat + 0.3, lon - 0.4) for lat, lon in HUBS.values()]


def build(source, out, **keys):
    return geoindex.build_index(source, out=out, **KEYS | keys)


def twice_built(folder, per_hub):
    """Build an index of tiles in 4 cells and rebuild it in 8: two generations over the same images."""
    table = write_world(folder / "world", world_rows(per_hub=per_hub))
    path = build(table, folder / "index", geocells={"n_cells": 4}).path
    geoindex.rebuild_index(path, geocells={"n_cells": 8})
    return path


def stored(path, table, column):
    folder = IndexFolder(path)
    version = folder.current().manifest.tables[table]
    values = folder.tables.read(table, version, [table[:-1] if table != "images" else "row", column])[column]
    return vectors_from_arrow(values.combine_chunks()) if "embedding" in column else values.to_numpy()


def partial_folders(path):
    return [p.name for p in (path / "generations").iterdir() if not p.name.isdigit()]


def error_km(prediction, hub):
    return float(haversine_km(prediction.lat, prediction.lon, *hub))
