"""The folder of a report: one page for people, its pictures, and the figures for programs."""

import json
from os import PathLike
from pathlib import Path

from geoindex.errors import StorageError
from geoindex.evaluation.findings import Findings
from geoindex.evaluation.page import render_page
from geoindex.evaluation.pictures import draw_pictures
from geoindex.store.durable import storage_errors

PAGE, FIGURES, ANSWERS = "report.html", "report.json", "predictions.json"


def require_places(predictions: str | PathLike[str] | None, folder: str | PathLike[str] | None) -> None:
    """See before the work that a file of predictions and a folder of a report can be written.

    Raises:
        StorageError: if one of them cannot.
    """
    for given, wanted in ((predictions, "file"), (folder, "folder")):
        if given is None:
            continue
        path = Path(given)
        with storage_errors(path):
            if path.exists() and path.is_dir() != (wanted == "folder"):
                raise StorageError(f"'{path}' is no {wanted}, as it has to be; choose another place.")
            if wanted == "file" and not path.parent.is_dir():
                raise StorageError(f"There is no folder '{path.parent}' to write '{path.name}' to; make it.")


def write_folder(findings: Findings, folder: Path) -> Path:
    """Write report.html, its pictures, report.json and predictions.json; return the page.

    Raises:
        StorageError: if the disk refuses.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pictures = draw_pictures(findings, folder)
        page = render_page(findings, {name: path.read_bytes() for name, path in pictures.items()})
        (folder / PAGE).write_text(page, "utf-8")
        figures = json.dumps(findings.to_dict(), indent=1, ensure_ascii=False)
        (folder / FIGURES).write_text(figures + "\n", "utf-8")
    findings.predictions.write(folder / ANSWERS)
    return folder / PAGE
