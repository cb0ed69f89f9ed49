"""The name of an encoder -> an `Encoder`."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.encoder.backbone import Architecture, library_of
from geoindex.encoder.encoder import CONFIG_FILE, FORMAT, WEIGHTS_FILE, Encoder
from geoindex.encoder.hub import fetch_weights
from geoindex.encoder.hub_models import is_model_folder, spec_of_folder
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.process import check_process
from geoindex.encoder.spec import EncoderSpec, parse_spec
from geoindex.encoder.weights import load_strictly, read_weights
from geoindex.errors import ConfigError, EncoderError, WeightsError, WeightsNotFoundError
from geoindex.recipe import EncoderRecipe
from geoindex.store.kinds import fits

if TYPE_CHECKING:
    import torch


_DEFAULT = EncoderRecipe()


def load_encoder(spec: str, recipe: EncoderRecipe = _DEFAULT, *, weights: str | os.PathLike[str] = "") -> Encoder:
    """Make the encoder of this name.

    Names are `open_clip:MODEL/PRETRAINED`, `timm:MODEL`, `hf-hub:OWNER/NAME[@REVISION]` for a CLIP model of
    transformers, or a folder with config.json and model.safetensors (saved by an encoder, or published for timm, or
    CLIP for transformers);
    `timm:MODEL/random?seed=0` has untrained weights, and `?depth=4&img_size=96` changes the architecture.
    Published weights come from the local cache; a download is logged before it starts.

    Args:
        spec: the name.
        recipe: overrides of the preprocessing, device, arithmetic and batch size.
        weights: a checkpoint (.safetensors, .pt) to load instead of published weights.

    Raises:
        ConfigError: if the name or the device is not valid.
        EncoderError: if the library has no such model, or cannot build it.
        WeightsNotFoundError: if the weights are not at hand.
        WeightsError: if they do not fit the model.
        ForkError: if the process that this one was forked from has used an encoder.
    """
    check_process()
    weights = os.fspath(weights)
    if _is_own(spec):
        return _load_folder(Path(spec), recipe, weights)
    named = _parse(spec)
    library = library_of(named.library)
    architecture = library.architecture(named, recipe.image_size)
    file = _weights_file(named, weights)
    module = _build(architecture, named.seed)
    if file is not None:
        load_strictly(module, library.adapt(read_weights(file), module), f"'{file}'")
    preprocessing = library.preprocessing(named, architecture, module)
    return Encoder(spec, architecture, _override(preprocessing, recipe), module, recipe, weights=weights)


def outline_encoder(spec: str, recipe: EncoderRecipe = _DEFAULT, *, weights: str = "") -> Encoder:
    """Make the encoder of this name but for its weights, which are random and cost nothing: for its sizes alone.

    Args:
        spec: as for `load_encoder`.
        recipe: likewise.
        weights: the checkpoint that would be loaded; it is not looked at.

    Raises:
        ConfigError: if the name is not valid.
        EncoderError: if the library has no such model, or cannot build it.
    """
    if _is_own(spec):
        architecture, preprocessing = _parts(_read_config(Path(spec, CONFIG_FILE)), Path(spec, CONFIG_FILE))
        module = _build(architecture, 0)
    else:
        named = _parse(spec)
        library = library_of(named.library)
        architecture = library.architecture(named, recipe.image_size)
        module = _build(architecture, named.seed)
        preprocessing = library.preprocessing(named, architecture, module)
    on_cpu = replace(recipe, device="cpu", dtype="float32")
    return Encoder(spec, architecture, _override(preprocessing, recipe), module, on_cpu, weights=weights)


def _is_own(spec: str) -> bool:
    """Tell whether the name is of a folder whose configuration says all, as of `Encoder.save` and of timm."""
    return Path(spec).is_dir() and not is_model_folder(Path(spec))


def _parse(spec: str) -> EncoderSpec:
    return spec_of_folder(Path(spec)) if Path(spec).is_dir() else parse_spec(spec)


def _weights_file(spec: EncoderSpec, weights: str) -> Path | None:
    """Return the checkpoint to load; None for untrained weights."""
    if spec.is_random and weights:
        raise ConfigError(f"Encoder weights '{weights}' contradict the tag 'random'; leave one out.")
    if spec.is_random:
        return None
    if weights:
        file = Path(weights)
        if not file.is_file():
            raise WeightsNotFoundError(f"No weights file at '{file}'; give the path of a .safetensors or .pt file.")
        return file
    return fetch_weights(library_of(spec.library).remote_weights(spec), f"{spec.library}:{spec.model}")


def _build(architecture: Architecture, seed: int) -> "torch.nn.Module":
    """Build the model with seeded weights, and leave torch's random state as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return library_of(architecture.library).build(architecture)


def _override(preprocessing: Preprocessing, recipe: EncoderRecipe) -> Preprocessing:
    given: dict[str, Any] = {"size": recipe.image_size, "mean": recipe.mean, "std": recipe.std}
    return replace(preprocessing, **{key: value for key, value in given.items() if value is not None})


def _load_folder(folder: Path, recipe: EncoderRecipe, weights: str) -> Encoder:
    config = _read_config(folder / CONFIG_FILE)
    foreign = "fingerprint" not in config
    architecture, own = _parts(config, folder / CONFIG_FILE)
    if recipe.image_size not in (None, own.size):
        raise ConfigError(
            f"The encoder in '{folder}' has image_size {own.size}, not {recipe.image_size}; leave it out."
        )
    module = _build(architecture, 0)
    file = weights or folder / WEIGHTS_FILE
    state = read_weights(file)
    if weights or foreign:
        state = library_of(architecture.library).adapt(state, module)
    load_strictly(module, state, f"'{file}'")
    preprocessing = _override(own, recipe)
    encoder = Encoder(str(folder), architecture, preprocessing, module, recipe, weights=weights)
    unchanged = not (weights or foreign or recipe.mean or recipe.std)
    if unchanged and encoder.fingerprint != config["fingerprint"]:
        raise WeightsError(f"The encoder in '{folder}' is not the one that was saved there; copy the folder again.")
    return encoder


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EncoderError(f"No {CONFIG_FILE} in the encoder folder '{file.parent}'; save an encoder there.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"Cannot read '{file}': {error}; save the encoder again.") from error
    if isinstance(config, dict) and isinstance(config.get("architecture"), str):
        return _from_timm(config)
    keys = {"architecture", "preprocessing", "fingerprint"}
    if not isinstance(config, dict) or config.get("format") != FORMAT or not keys <= config.keys():
        raise EncoderError(f"'{file}' is not the configuration of an encoder, format {FORMAT}; save it again.")
    return config


def _parts(config: dict[str, Any], file: Path) -> tuple[Architecture, Preprocessing]:
    try:
        parts = Architecture(**config["architecture"]), Preprocessing.from_dict(config["preprocessing"])
        if not (fits(parts[0], Architecture) and fits(parts[1], Preprocessing)):
            raise TypeError("a value of another kind")
        return parts
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise EncoderError(f"'{file}' has a part that no encoder has ({error}); copy the folder again.") from error


def _from_timm(config: dict[str, Any]) -> dict[str, Any]:
    """Translate the configuration of a folder as timm publishes them, which has no fingerprint."""
    from geoindex.encoder.timm_models import read_config

    architecture = Architecture("timm", config["architecture"], config.get("model_args") or {})
    try:
        preprocessing = read_config(architecture, config.get("pretrained_cfg") or {})
    except Exception as error:  # timm checks with assertions
        raise EncoderError(
            f"timm has no preprocessing for {architecture.model!r} ({error}); copy the folder."
        ) from error
    return {"architecture": architecture.to_dict(), "preprocessing": preprocessing.to_dict()}
