"""The name of an encoder: `library:MODEL[/TAG][?option=value&...]` or `hf-hub:OWNER/NAME[@REVISION]`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qsl

from geoindex.errors import ConfigError

Value: TypeAlias = "bool | int | float | str"

RANDOM_TAG = "random"
"""The tag that asks for untrained weights, drawn from `?seed=`."""

UNTRAINED = "timm:vit_tiny_patch16_224/random?depth=3&global_pool=avg&class_token=false&seed=0"
"""A small transformer with seeded random weights: it tells colours and textures apart and needs no download."""

HUB = "hf-hub"
"""The library of CLIP models that lie on the Hugging Face hub as transformers saves them."""

CHOICES = (
    "open_clip:MODEL/PRETRAINED, timm:MODEL, hf-hub:OWNER/NAME, or a folder with config.json and model.safetensors"
)
LIBRARIES = ("open_clip", "timm", HUB)

_REPOSITORY = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class EncoderSpec:
    """What the name of an encoder says.

    Attributes:
        library: which package knows the model, one of `LIBRARIES`.
        model: the model's name in that library; for `HUB` the repository, or the absolute path of a folder.
        tag: which weights; empty for the library's choice, `RANDOM_TAG` for untrained ones; for `HUB` the revision.
        options: changes to the architecture, such as `depth`.
        seed: seed of untrained weights.
    """

    library: str
    model: str
    tag: str = ""
    options: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0

    @property
    def is_random(self) -> bool:
        """Tell whether untrained weights are wanted."""
        return self.tag == RANDOM_TAG and self.library != HUB


def parse_spec(text: str) -> EncoderSpec:
    """Read the name of an encoder.

    Raises:
        ConfigError: if it is none.
    """
    library, colon, rest = text.partition(":")
    if not colon or library not in LIBRARIES:
        raise ConfigError(f"Encoder {text!r} is neither a folder nor a known name; give {CHOICES}.")
    if library == HUB:
        return _parse_repository(text, rest)
    path, _, query = rest.partition("?")
    model, slash, tag = path.partition("/")
    if not model or (slash and not tag):
        raise ConfigError(f"Encoder {text!r} names no model or no weights; give {CHOICES}.")
    if library == "timm" and tag not in ("", RANDOM_TAG):
        raise ConfigError(f"Encoder {text!r}: a timm model takes its weights after a dot, as in timm:MODEL.TAG.")
    options = _parse_options(text, query)
    return EncoderSpec(library, model, tag, options, _take_seed(text, tag, options))


def _parse_repository(text: str, rest: str) -> EncoderSpec:
    found = _REPOSITORY.fullmatch(rest)
    if found is None:
        wanted = "hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION"
        raise ConfigError(f"Encoder {text!r} names no repository of the Hugging Face hub; give {wanted}, no options.")
    return EncoderSpec(HUB, found[1], found[2] or "")


def _parse_options(text: str, query: str) -> dict[str, Value]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        wanted = "write options as ?name=value&name=value"
        raise ConfigError(f"Encoder {text!r} has malformed options; {wanted}.") from error
    return {name: _parse_value(value) for name, value in pairs}


def _parse_value(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _take_seed(text: str, tag: str, options: dict[str, Value]) -> int:
    seed = options.pop("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ConfigError(f"Encoder {text!r} has seed {seed!r}; it must be a whole number from 0.")
    if seed and tag != RANDOM_TAG:
        raise ConfigError(f"Encoder {text!r} has a seed, which only untrained weights take: MODEL/random?seed=1.")
    return seed
