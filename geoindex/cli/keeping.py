"""Commands that keep an index: its history, a way back, the removal of what nobody needs, repair, copies."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoindex.cli.application import SOME_FAILED, ReportFormat, app, print_report


@app.command
def generations(index: Path, /, *, format: ReportFormat = "table") -> int:
    """List the generations of an index: size, parent, counts, score, damage.

    Args:
        index: Folder of the index.
        format: How to print them.
    """
    from geoindex.store.history import list_generations

    print_report(list_generations(index), format)
    return 0


@dataclass(frozen=True)
class _Answering:
    """Which generation of an index answers now."""

    index: str
    generation: str

    def to_text(self) -> str:
        """Return it as a line."""
        return f"{self.index}: generation {self.generation} answers now"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)


@app.command
def rollback(index: Path, /, *, to: str = "", format: ReportFormat = "table") -> int:
    """Let an earlier generation answer again, after a look at every byte of it. Later ones stay.

    Args:
        index: Folder of the index.
        to: Its name, as 000002; without one, the parent of the live generation.
        format: How to print which one answers.
    """
    from geoindex.updates.rollback import roll_back

    print_report(_Answering(str(index), roll_back(index, to).manifest.generation), format)
    return 0


@app.command
def gc(index: Path, /, *, keep: int = 2, grace_hours: float = 24.0, format: ReportFormat = "table") -> int:
    """Remove generations that are not live, not among the newest and not just replaced, and what only they needed.

    Args:
        index: Folder of the index.
        keep: Newest generations to keep.
        grace_hours: Time for which a generation is kept after another one went live, as a reader may have it open.
        format: How to print what was removed.
    """
    from geoindex.store.history import collect

    print_report(collect(index, keep=keep, grace_hours=grace_hours), format)
    return 0


@app.command
def verify(index: Path, /, *, full: bool = False, format: ReportFormat = "table") -> int:
    """Look for damage: sizes, counts and canary queries, or every byte.

    Args:
        index: Folder of the index, or its URL.
        full: Read every byte of files, tables and encoder.
        format: How to print what was found.
    """
    from geoindex.integrity import verify_index

    found = verify_index(index, full=full)
    print_report(found, format)
    return 1 if found.faults else 0


@app.command
def repair(index: Path, /, *, format: ReportFormat = "table") -> int:
    """Make a damaged index sound again, from its tables or by going back to the newest sound generation.

    Args:
        index: Folder of the index.
        format: How to print what was done.
    """
    from geoindex.repair import repair_index

    repaired = repair_index(index)
    print_report(repaired, format)
    return SOME_FAILED if repaired.left else 0


@app.command
def clone(index: Path, out: Path, /, *, generation: str = "", format: ReportFormat = "table") -> int:
    """Make an index of its own out of one generation of another, and compare every byte with its checksum.

    To a URL such as s3://BUCKET/PREFIX it publishes the generation, and from one it fetches what answers there.

    Args:
        index: Folder of the index, or its URL.
        out: Folder of the new one, which is not there or is empty; or a URL where nothing answers, or this index does.
        generation: Which one, as 000002; without one, the live one.
        format: How to print what was copied.
    """
    from geoindex.transfer import clone_index

    print_report(clone_index(index, out, generation), format)
    return 0


@app.command
def export(
    index: Path, archive: Path, /, *, generation: str = "", replace: bool = False, format: ReportFormat = "table"
) -> int:
    """Write one generation of an index into a single tar file, with the checksum of every file in it.

    Args:
        index: Folder of the index.
        archive: The file, such as mine.tar.
        generation: Which one, as 000002; without one, the live one.
        replace: Let it take the place of a file that is there, once it is whole.
        format: How to print what was written.
    """
    from geoindex.transfer import export_index

    print_report(export_index(index, archive, generation, replace=replace), format)
    return 0


@app.command(name="import")
def import_(archive: Path, out: Path, /, *, format: ReportFormat = "table") -> int:
    """Make an index out of a file that 'geoindex export' wrote, after a look at every byte of it.

    Args:
        archive: The file.
        out: Folder of the index, which is not there or is empty.
        format: How to print what was unpacked.
    """
    from geoindex.transfer import import_index

    print_report(import_index(archive, out), format)
    return 0
