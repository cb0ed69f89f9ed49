"""Standard streams that any name can be written to, and that are always there."""

import codecs
import os
import sys
from io import TextIOWrapper

ESCAPES = "geoindex-escapes"
"""How characters that a stream cannot encode are written: as JSON writes them, so that JSON stays JSON."""


def prepare_streams() -> None:
    """Open the null device for each stream that the caller closed, and let the others write every character."""
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers, which are the lowest that are free
        if getattr(sys, name) is None:
            setattr(sys, name, _null("r" if name == "stdin" else "w"))
    codecs.register_error(ESCAPES, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ESCAPES)


def _null(mode: str) -> TextIOWrapper:
    return TextIOWrapper(os.fdopen(os.open(os.devnull, os.O_RDWR), f"{mode}b"), "utf-8")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Write characters as \u and four digits, those beyond the first 65536 as two."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end
