"""Text and JSON that every program reads: names of files are any bytes, and numbers may be none."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_STRAY = re.compile("[\ud800-\udfff]")
"""What Python takes bytes of a name for that are no text."""


def plain_name(name: str) -> str:
    r"""Return the name of a file as text: bytes that are none become \xff, as people write them."""
    return _STRAY.sub(lambda found: _escape(found[0]), name)


def plain_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON as its standard has it: names are text, and a number that is not finite is null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return _STRAY.sub(lambda found: "\\" + _escape(found[0]), text)


def _escape(stray: str) -> str:
    code = ord(stray)
    return f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
