"""The application that commands are added to, and what they share: flags, formats, printing."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from cyclopts import App, Parameter, Token

from geoindex import __version__
from geoindex.plain import plain_json
from geoindex.recipe import Recipe

if TYPE_CHECKING:
    from geoindex.assembly.report import BuildReport
    from geoindex.tuning import TuningReport

SOME_FAILED = 3
ANY_CLUSTER = "auto"
"""What `--ray` means without an address."""

Format = Literal["table", "json", "jsonl", "geojson", "csv"]
Flags = Annotated[Recipe, Parameter(name="*")]
ReportFormat = Literal["table", "json"]


def _whole(type_: Any, tokens: Sequence[Token]) -> int:
    value = tokens[0].value
    try:
        return int(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no whole number") from error


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number; of 1.5 an int would make 2."""

app = App(
    name="geoindex",
    version=__version__,
    help="Where on Earth was this photo taken?",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=(), show_default=lambda value: _default_text(value)),
)


def _default_text(value: object) -> str | None:
    """Return a default as it would be typed; what is empty needs no telling."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or None
    return None if value is None else str(value) or None


class Report(Protocol):
    """What commands print."""

    def to_text(self) -> str:
        """Return it for people."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""


def print_report(report: Report, format: ReportFormat) -> None:
    """Print a report for people or for programs."""
    say(report.to_text() if format == "table" else plain_json(report.to_dict(), indent=1))


def say(text: str) -> None:
    """Write lines to standard output: what every command answers with."""
    from geoindex.progress import write

    write(f"{text}\n", sys.stdout)


def print_build(report: "BuildReport | TuningReport", format: ReportFormat) -> int:
    """Print what was built or trained; return the exit code."""
    print_report(report, format)
    return SOME_FAILED if report.failed else 0


def complain(message: str) -> None:
    """Print one line of complaint to stderr."""
    from geoindex.progress import write

    write(f"geoindex: {' '.join(message.splitlines())}\n", sys.stderr)
