"""Recipes as TOML and as plain types: read with errors that name the key, written back the same."""

import difflib
import json
import tomllib
import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from geoindex.errors import ConfigError
from geoindex.recipe import Recipe, require

R = TypeVar("R")


def load_recipe(path: str | PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file.

    Raises:
        ConfigError: if the file is missing, is not TOML, or has a key or value that no recipe has.
    """
    path = Path(path)
    try:
        return recipe_from_dict(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"No recipe at '{path}'; see indexes/*.toml for examples.") from None
    except (OSError, ValueError, RecursionError) as error:  # bad UTF-8 and bad TOML are ValueErrors
        raise ConfigError(
            f"Recipe '{path}' is not readable TOML ({error}); correct that line, or see indexes/*.toml for examples."
        ) from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from nested plain types, as TOML or JSON give them.

    Raises:
        ConfigError: if a key or value is none that a recipe has.
    """
    return _parse_dataclass(Recipe, values, "")


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as nested plain types; keys that are None are left out."""
    return _without_none(asdict(recipe))


def recipe_to_toml(recipe: Recipe) -> str:
    """Return the recipe as TOML that `load_recipe` reads back to an equal recipe."""
    values = recipe_to_dict(recipe)
    lines = [_toml_line(key, value) for key, value in values.items() if not isinstance(value, dict)]
    for section, keys in values.items():
        if isinstance(keys, dict):
            lines += ["", f"[{section}]"] + [_toml_line(key, value) for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _toml_line(key: str, value: Any) -> str:
    # JSON's text for strings, numbers, booleans and arrays is also TOML's, but for DEL
    return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    nested = {k: _without_none(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {key: value for key, value in nested.items() if value is not None}


def _parse_dataclass(kind: type[R], values: Mapping[str, Any], prefix: str) -> R:
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(sorted(known))}."
            raise ConfigError(f"No recipe key {prefix + key!r}; {advice}")
    return kind(**{key: _parse_value(hints[key], value, prefix + key) for key, value in values.items()})


def _parse_value(hint: Any, value: Any, key: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        require(isinstance(value, Mapping), key, value, "a section")
        return _parse_dataclass(hint, value, key + ".")
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _parse_value(next(a for a in args if a is not type(None)), value, key)
    if origin is Literal:
        require(value in args, key, value, "one of " + ", ".join(map(str, args)))
        return value
    if origin is tuple:
        return _parse_tuple(args, value, key)
    wanted = (int, float) if hint is float else hint
    fits = isinstance(value, wanted) and not (isinstance(value, bool) and hint is not bool)
    require(fits, key, value, f"of type {hint.__name__}")
    try:
        return hint(value)
    except OverflowError:
        raise ConfigError(f"Recipe key '{key}' is a larger number than any; it must be of type float.") from None


def _parse_tuple(args: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    require(isinstance(value, list | tuple), key, value, "a list")
    if args[-1] is not Ellipsis:
        require(len(value) == len(args), key, value, f"a list of {len(args)}")
    return tuple(_parse_value(args[0], item, key) for item in value)
