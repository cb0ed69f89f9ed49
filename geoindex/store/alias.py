"""Another name for a folder, for a library that takes only plain ones."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PLAIN = re.compile(r"[\w /.,:;@!$&'()+=-]*", re.ASCII)
"""Paths that Lance leaves as they are; it percent-encodes other characters where it tags a version, makes folders of
that name beside ours, and fails where it may not (measured with lancedb 0.40)."""


@contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Give a path to a folder that is made of plain characters only: its own, or a link to it."""
    if PLAIN.fullmatch(str(folder.absolute())):
        yield folder
        return
    with TemporaryDirectory(prefix="geoindex-") as parent:
        link = Path(parent, "link")
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link
