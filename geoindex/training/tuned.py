"""What a fit on images leaves behind, as files that need no training code: the encoder, and its geo-embeddings.

A folder holds config.json and model.safetensors, which `load_encoder` reads, and heads.safetensors and heads.json,
which say what cells and clusters look like in the encoder's space.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.projection import Projection
from geoindex.errors import WeightsError
from geoindex.store.durable import storage_errors, write_durably

HEADS_FILE, FACTS_FILE = "heads.safetensors", "heads.json"

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TunedHeads:
    """Geo-embeddings that were learned with an encoder.

    Attributes:
        projection: features to embeddings.
        cells, clusters: geo-embeddings, (C, dim) and (M, dim).
        cell_sites, cluster_sites: unit vectors of what they stand for, (C, 3) and (M, 3).
        history: one row an epoch; row 0 is the start.
        best_epoch: the one that was kept.
    """

    projection: Projection
    cells: Vectors
    clusters: Vectors
    cell_sites: Floats
    cluster_sites: Floats
    history: list[dict[str, Any]]
    best_epoch: int

    def fit(self, cell_sites: Floats, cluster_sites: Floats) -> bool:
        """Tell whether they are of these cells and clusters."""
        return np.array_equal(self.cell_sites, cell_sites) and np.array_equal(self.cluster_sites, cluster_sites)

    def save(self, folder: Path) -> None:
        """Write both files into a folder that is there."""
        from safetensors.numpy import save

        arrays = {"mean": self.projection.mean, "matrix": self.projection.matrix, "cells": self.cells}
        arrays |= {"clusters": self.clusters}
        sites = {"cell_sites": self.cell_sites, "cluster_sites": self.cluster_sites}
        packed = {name: np.ascontiguousarray(values) for name, values in {**arrays, **sites}.items()}
        facts = {"format": 1, "best_epoch": self.best_epoch, "history": self.history}
        with storage_errors(folder):
            write_durably(folder / HEADS_FILE, save(packed))
            write_durably(folder / FACTS_FILE, (json.dumps(facts, indent=1) + "\n").encode())


def read_heads(folder: str | Path) -> TunedHeads | None:
    """Read the heads beside an encoder; None if there are none.

    Raises:
        WeightsError: if they are damaged.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    if not (folder / HEADS_FILE).is_file() or not (folder / FACTS_FILE).is_file():
        return None
    try:
        values = load_file(folder / HEADS_FILE)
        facts = json.loads((folder / FACTS_FILE).read_text("utf-8"))
        projection = Projection(values["mean"], values["matrix"])
        rows, sites = (values["cells"], values["clusters"]), (values["cell_sites"], values["cluster_sites"])
        return TunedHeads(projection, *rows, *sites, facts["history"], facts["best_epoch"])
    except Exception as error:  # the reader of safetensors raises kinds of its own
        raise WeightsError(f"The heads in '{folder}' cannot be read ({error}); copy the folder again.") from error
