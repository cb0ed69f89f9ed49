"""Libraries that talk to the root logger, of things that nobody but their makers can change."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unheard(package: str) -> Iterator[None]:
    """Keep back what a package tells the root logger, and keep it from setting up logging by telling it."""

    def is_of_others(record: logging.LogRecord) -> bool:
        return package not in Path(record.pathname).parts

    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)  # a message to the root logger without any handler would set up logging
    root.addFilter(is_of_others)
    try:
        yield
    finally:
        root.removeFilter(is_of_others)
        root.removeHandler(silent)
