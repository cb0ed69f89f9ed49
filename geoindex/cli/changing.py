"""Commands that change an index without a rebuild: photos come and go, labels are set, and what is gone is purged."""

import sys
from pathlib import Path

from geoindex.cli.application import SOME_FAILED, ReportFormat, app, print_report


@app.command
def add(
    index: Path,
    source: str,
    /,
    *,
    prefix: str = "",
    column: tuple[str, ...] = (),
    device: str = "auto",
    format: ReportFormat = "table",
) -> int:
    """Add photos to the gallery of an index: new generation, same cells and clusters, nothing embedded twice.

    Args:
        index: Folder of the index.
        source: A folder of photos, a table, or a URI, as for build.
        prefix: Put before every id, so that two folders with the same file names don't meet.
        column: Columns of a table by meaning, each with a flag of its own, as lat=NAME.
        device: auto, cpu, cuda, mps.
        format: How to print what was added.
    """
    from geoindex.recipe import Recipe
    from geoindex.updates.adding import add_images

    added = add_images(index, source, prefix=prefix, columns=Recipe(column=column).columns, device=device)
    print_report(added, format)
    return SOME_FAILED if added.failed else 0


@app.command
def remove(
    index: Path, ids: list[str] | None = None, /, *, where: str = "", ids_from: Path | None = None,
    format: ReportFormat = "table",
) -> int:  # fmt: skip
    """Remove photos for good: they leave every answer, and no rollback, rebuild, clone or import brings them back.

    Args:
        index: Folder of the index.
        ids: Ids of photos, as answers and info name them.
        where: A condition over the columns of the images table, as "author = 'Kim' AND country = 'US'".
        ids_from: A file with one id a line; - for stdin.
        format: How to print what was removed.
    """
    from geoindex.updates.removing import remove_images

    wanted = [*(ids or []), *(_lines(ids_from) if ids_from else [])]
    removed = remove_images(index, wanted, where=where)
    print_report(removed, format)
    return SOME_FAILED if removed.unknown else 0


def _lines(path: Path) -> list[str]:
    from geoindex.errors import DatasetNotFoundError
    from geoindex.inputs import STDIN

    try:
        text = sys.stdin.read() if str(path) in STDIN else path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise DatasetNotFoundError(
            f"Cannot read the ids in '{path}' ({error}); give a text file, one id a line."
        ) from error
    return [line for line in text.splitlines() if line.strip()]


@app.command
def label(index: Path, table: Path, /, *, format: ReportFormat = "table") -> int:
    """Set labels of stored photos from a table with a column id and one a label, such as country or author.

    Args:
        index: Folder of the index.
        table: A .csv, .tsv or .parquet file; an empty cell unsets a label.
        format: How to print what was labelled.
    """
    from geoindex.updates.labelling import label_images

    labelled = label_images(index, table)
    print_report(labelled, format)
    return SOME_FAILED if labelled.unknown else 0


@app.command
def compact(index: Path, /, *, format: ReportFormat = "table") -> int:
    """Purge the rows of removed photos from every generation, and write galleries that were added to in one piece.

    Args:
        index: Folder of the index.
        format: How to print what was done.
    """
    from geoindex.updates.compaction import compact_index

    print_report(compact_index(index), format)
    return 0
