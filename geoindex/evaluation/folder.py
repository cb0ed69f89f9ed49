"""The folder of a report: one page for people, its pictures, and the figures for programs."""

import json
from pathlib import Path

from geoindex.evaluation.findings import Findings
from geoindex.evaluation.page import render_page
from geoindex.evaluation.pictures import draw_pictures
from geoindex.store.durable import storage_errors

PAGE, FIGURES, ANSWERS = "report.html", "report.json", "predictions.json"


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
