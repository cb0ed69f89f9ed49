"""Where an index lies: a folder, or the URL of a place on object storage."""

import hashlib
import os
import re
from os import PathLike
from pathlib import Path

from geoindex.errors import ConfigError

SCHEMES = ("s3", "gs", "az")

NAME_BYTES = 255
"""Longest name of a file or folder that file systems take."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(.*)", re.DOTALL)
"""A URL, also one that went through a Path, which makes one slash of two; a drive has one letter."""

CACHE_VARIABLE = "GEOINDEX_CACHE"


def path_text(place: object, what: str = "The path") -> str:
    """Return a path or URL as text.

    Args:
        place: what somebody gave for one.
        what: it stands for, as a sentence begins.

    Raises:
        ConfigError: if it is neither text nor a path, or holds a character that no path has.
    """
    text = os.fspath(place) if isinstance(place, os.PathLike) else place
    if not isinstance(text, str):
        raise ConfigError(f"{what} is {place!r}, which is neither text nor a path; give one of these.")
    if "\0" in text:
        raise ConfigError(f"{what} is {text!r}, and no path holds the character 0; leave it out.")
    return text


def url_of(place: str | PathLike[str]) -> str:
    """Return the URL that a place is, without a slash at its end; empty if it is a folder.

    Raises:
        ConfigError: if it is a URL, and none that an index can lie at, or no text.
    """
    text = path_text(place)
    found = _URL.fullmatch(f"{text}/" if text.removesuffix(":") in SCHEMES and text.endswith(":") else text)
    if found is None:
        return ""
    scheme, path = found[1], found[2].rstrip("/")
    bucket, *below = path.split("/")
    if scheme not in SCHEMES:
        raise ConfigError(
            f"'{scheme}://{path}' is no place for an index; name a folder, or a URL of s3://, gs://, az://."
        )
    if not bucket or any(part in ("", ".", "..") for part in below):
        raise ConfigError(f"'{scheme}://{path}' is no place in a bucket; write it as {scheme}://BUCKET/PREFIX.")
    return f"{scheme}://{path}"


def folder_of(place: str | PathLike[str]) -> Path:
    """Return a place as the folder that it must be.

    Raises:
        ConfigError: if it is a URL, or has a name that no file system takes.
    """
    if url := url_of(place):
        raise ConfigError(
            f"'{url}' lies on object storage, where an index is only built, rebuilt, opened, verified and cloned; for "
            f"all else run 'geoindex clone {url} FOLDER', work on FOLDER, and 'geoindex clone FOLDER {url}'."
        )
    path = Path(place)
    if any(len(os.fsencode(name)) > NAME_BYTES for name in path.parts):
        raise ConfigError(f"'{path}' holds a name of more than {NAME_BYTES} bytes; choose a shorter one.")
    return path


def place_of(place: str | PathLike[str]) -> str | Path:
    """Return a place as reports name it: the text of a URL, or the path of a folder."""
    return url_of(place) or Path(place)


def cache_folder() -> Path:
    """Return the folder for what can be made or fetched again: $GEOINDEX_CACHE, else that of the user."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "geoindex"


def cache_of(url: str) -> Path:
    """Return the folder of the cache that belongs to a URL."""
    # a bucket of the same name at another endpoint is another one
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return cache_folder() / "remote" / hashlib.sha256(f"{endpoint}\n{url}".encode()).hexdigest()[:32]
