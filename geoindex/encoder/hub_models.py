"""Models of the Hugging Face hub as transformers saves them: the image tower of CLIP, which open_clip computes.

A folder with the files of such a repository serves as well.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.encoder.backbone import Architecture, RemoteWeights
from geoindex.encoder.clip_config import read_architecture, read_preprocessing
from geoindex.encoder.hub import fetch_weights
from geoindex.encoder.open_clip_models import adapt, build
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.spec import HUB, EncoderSpec
from geoindex.errors import EncoderError

if TYPE_CHECKING:
    import torch

__all__ = ["adapt", "architecture", "build", "is_model_folder", "preprocessing", "remote_weights", "spec_of_folder"]

_CONFIGS = ("config.json",)
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def is_model_folder(folder: Path) -> bool:
    """Tell whether a folder holds a model as transformers saves it, not one of timm or of `Encoder.save`."""
    try:
        config = json.loads((folder / _CONFIGS[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "model_type" in config and not config.keys() & {"architecture", "fingerprint"}


def spec_of_folder(folder: Path) -> EncoderSpec:
    """Return what stands for the model in a folder; an absolute path is never the name of a repository."""
    return EncoderSpec(HUB, str(folder.absolute()))


def architecture(spec: EncoderSpec, image_size: int | None) -> Architecture:
    """Return what config.json says; position embeddings follow another `image_size`."""
    config, source = _read(_config_file(spec))
    found = read_architecture(config, source)
    changed = {} if image_size is None else {"image_size": image_size}
    return replace(found, options={**found.options, **changed})


def remote_weights(spec: EncoderSpec) -> RemoteWeights:
    """Return where the weights lie, in the revision of the configuration."""
    return RemoteWeights(spec.model, _WEIGHTS, _revision(spec))


def preprocessing(spec: EncoderSpec, architecture: Architecture, module: "torch.nn.Module") -> Preprocessing:
    """Return what the configuration of the image processor says."""
    own = read_architecture(*_read(_config_file(spec))).options["image_size"]
    remote = RemoteWeights(spec.model, _PROCESSORS, _revision(spec), kind="preprocessing")
    config, source = _read(fetch_weights(remote, _name(spec)))
    return read_preprocessing(config, own, source)


def _config_file(spec: EncoderSpec) -> Path:
    remote = RemoteWeights(spec.model, _CONFIGS, spec.tag or None, kind="configuration of transformers")
    return fetch_weights(remote, _name(spec))


def _revision(spec: EncoderSpec) -> str | None:
    """Return the commit that the configuration is of, so that no other file can be of another one."""
    snapshot = _config_file(spec).parent
    return snapshot.name if snapshot.parent.name == "snapshots" else spec.tag or None


def _name(spec: EncoderSpec) -> str:
    return f"{HUB}:{spec.model}"


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """Return what a JSON file says, and what to call it."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"Cannot read '{file}': {error}; fetch it again.") from error
    if not isinstance(config, dict):
        raise EncoderError(f"'{file}' is not a configuration of transformers; fetch it again.")
    return config, f"'{file}'"
