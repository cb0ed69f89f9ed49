"""What the encoder asks of a model library, whichever it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.device import Vectors
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.spec import HUB, EncoderSpec
from geoindex.errors import EncoderError

if TYPE_CHECKING:
    import torch

State: TypeAlias = "dict[str, torch.Tensor]"
"""Weights by name."""

CLOSE_MATCHES = 4


@dataclass(frozen=True)
class Architecture:
    """A model without its weights.

    Attributes:
        library: which package builds it.
        model: its name there.
        options: what differs from what the name says; plain JSON types.
    """

    library: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """The fields without the part of the name that only says which weights were published for it."""
        return self.to_dict() | {"model": self.model.partition(".")[0]}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return {"library": self.library, "model": self.model, "options": dict(self.options)}


@dataclass(frozen=True)
class RemoteWeights:
    """Where the published weights of a model lie.

    Attributes:
        repo: repository on the Hugging Face hub, or the absolute path of a folder; empty if there is none.
        files: names to try there, in order.
        revision: revision of the repository, if it matters.
        url: another address, for messages.
        kind: what the files are, for messages.
    """

    repo: str
    files: tuple[str, ...]
    revision: str | None = None
    url: str = ""
    kind: str = "weights"


class Backbone(Protocol):
    """What computes the forward pass."""

    device: Any
    dtype: Any
    dim: int

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of pixels (B, 3, S, S) as (B, dim)."""

    def features_there(self, batch: NDArray[np.uint8]) -> Vectors:
        """Return as `features` does, and leave them where they are computed."""


class ModelLibrary(Protocol):
    """A package that knows models by name."""

    def architecture(self, spec: EncoderSpec, image_size: int | None) -> Architecture:
        """Return what the name means.

        Raises:
            EncoderError: if the library has no such model.
        """

    def remote_weights(self, spec: EncoderSpec) -> RemoteWeights:
        """Return where its published weights lie.

        Raises:
            WeightsNotFoundError: if there are none.
            ConfigError: if a tag must be chosen.
        """

    def build(self, architecture: Architecture) -> "torch.nn.Module":
        """Return the untrained model; it maps (B, 3, S, S) to (B, dim)."""

    def preprocessing(self, spec: EncoderSpec, architecture: Architecture, module: "torch.nn.Module") -> Preprocessing:
        """Return what the model's own configuration says about its pixels."""

    def adapt(self, state: State, module: "torch.nn.Module") -> State:
        """Bring a checkpoint to the names and sizes of the model, without the parts that it does not have."""


def library_of(name: str) -> ModelLibrary:
    """Return the library of this name, one of `geoindex.encoder.spec.LIBRARIES`.

    Raises:
        EncoderError: if there is none.
    """
    from geoindex.encoder import hub_models, open_clip_models, timm_models

    libraries: dict[str, ModelLibrary] = {"timm": timm_models, "open_clip": open_clip_models, HUB: hub_models}
    if name not in libraries:
        raise EncoderError(f"Model library {name!r} is unknown; geoindex has {', '.join(libraries)}.")
    return libraries[name]


def refuse_unknown(kind: str, name: str, known: list[str]) -> None:
    """Refuse a name that is not among the known ones, and name those close to it, else the first.

    Raises:
        EncoderError: if `name` is not in `known`.
    """
    from difflib import get_close_matches

    if name in known:
        return
    close = get_close_matches(name, known, CLOSE_MATCHES)
    if close:
        raise EncoderError(f"{kind} {name!r} is unknown; did you mean {' or '.join(close)}?")
    more = f" and {len(known) - CLOSE_MATCHES:,} more" if len(known) > CLOSE_MATCHES else ""
    raise EncoderError(f"{kind} {name!r} is unknown; known are {', '.join(known[:CLOSE_MATCHES]) or 'none'}{more}.")
