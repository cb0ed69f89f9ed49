"""What a fit tells while it runs: metrics.jsonl, TensorBoard where it is installed, and a picture at the end."""

import json
from pathlib import Path
from typing import Any

from geoindex.store.durable import storage_errors, write_durably

METRICS_FILE = "metrics.jsonl"
CURVES_FILE = "curves.png"


class Journal:
    """Rows of figures, one a step or an epoch."""

    def __init__(self, folder: Path, step: int) -> None:
        """Go on after a step: what a killed run told after its last checkpoint is struck out."""
        self.path = folder / METRICS_FILE
        rows = [row for row in read_metrics(folder) if row["step"] <= step] if step else []
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self._board = _open_board(folder, step)

    def tell(self, row: dict[str, Any]) -> None:
        """Add a row; it has a `step`."""
        with storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is None:
            return
        for name, value in row.items():
            if isinstance(value, float) and name != "step":
                self._board.add_scalar(name, value, row["step"])

    def close(self, history: list[dict[str, Any]]) -> None:
        """Draw the curves of a finished fit."""
        from geoindex.figures import draw_training

        if self._board is not None:
            self._board.close()
        draw_training(read_metrics(self.path.parent), history, self.path.with_name(CURVES_FILE))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that a fit has told so far; a last line that was cut off is left out."""
    path = folder / METRICS_FILE
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the extra train
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)
