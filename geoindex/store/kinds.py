"""Is a value that came out of JSON of the kind that it must be?"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Tell whether it is a string."""
    return isinstance(value, str)


def is_word(value: Any) -> bool:
    """Tell whether it is a string that a sentence can hold."""
    return isinstance(value, str) and value.isprintable()


def is_file_name(value: Any) -> bool:
    """Tell whether it is the name of a file in a folder, not a path out of it."""
    return is_word(value) and value not in ("", ".", "..") and "/" not in value


def is_flag(value: Any) -> bool:
    """Tell whether it is true or false."""
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Tell whether it is a whole number, 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_scale(value: Any) -> bool:
    """Tell whether it is a positive number."""
    return fits(value, float) and 0 < value < math.inf


def between(low: float, high: float) -> Check:
    """Return what tells whether a value is a number in this range, its ends included."""
    return lambda value: fits(value, float) and low <= value <= high


def list_of(check: Check) -> Check:
    """Return what tells whether a value is a list of such values that is not empty."""
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a type as it is written in an annotation."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is UnionType:
        return any(fits(value, each) for each in inner)
    if origin in (dict, Mapping):
        return isinstance(value, origin) and all(fits(each, inner[1]) for each in value.values())
    if origin is list:
        return isinstance(value, list) and all(fits(each, inner[0]) for each in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(fits, value, inner))
    if is_dataclass(kind):
        return isinstance(value, kind) and all(fits(getattr(value, k), t) for k, t in get_type_hints(kind).items())  # type: ignore[arg-type]
    if kind is Any:
        return True
    wanted = (int, float) if kind is float else kind
    return isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))


def first_odd(values: Mapping[str, Any], checks: Mapping[str, Check]) -> str:
    """Return the first part, such as `encoder.spec`, that is missing or fails its check; empty if none.

    A `*` in its name stands for every key.
    """
    for name, check in checks.items():
        if not all(map(check, _parts(values, name.split(".")))):
            return name
    return ""


def _parts(value: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield value
    elif not isinstance(value, Mapping):
        yield None
    else:
        for inner in value.values() if keys[0] == "*" else [value.get(keys[0])]:
            yield from _parts(inner, keys[1:])
