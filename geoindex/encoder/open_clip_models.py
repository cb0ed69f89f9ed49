"""Models of open_clip: the image tower alone, its projected output before normalisation."""

from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from geoindex.encoder.backbone import Architecture, RemoteWeights, State, refuse_unknown
from geoindex.encoder.clip_weights import is_of_transformers, to_open_clip
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.spec import EncoderSpec
from geoindex.errors import ConfigError, EncoderError, WeightsNotFoundError

if TYPE_CHECKING:
    import torch

_TAGS_SHOWN = 6
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TOWER = "visual."


def architecture(spec: EncoderSpec, image_size: int | None) -> Architecture:
    """Return what the name means; options are fields of the vision tower, `embed_dim` or `quick_gelu`."""
    import open_clip

    refuse_unknown("open_clip model", spec.model, open_clip.list_models())
    options: dict[str, Any] = dict(spec.options)
    if not spec.is_random and spec.tag:
        refuse_unknown(f"open_clip tag of {spec.model}", spec.tag, open_clip.list_pretrained_tags_by_model(spec.model))
        if _tag_config(spec.model, spec.tag).get("quick_gelu"):
            options["quick_gelu"] = True
    if image_size is not None:
        options["image_size"] = image_size
    return Architecture("open_clip", spec.model, options)


def _tag_config(model: str, tag: str) -> dict[str, Any]:
    import open_clip

    config: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag) if tag else {}
    return config


def remote_weights(spec: EncoderSpec) -> RemoteWeights:
    """Return where the weights of the tag lie.

    Raises:
        ConfigError: if no tag is named.
        WeightsNotFoundError: if open_clip knows no address.
    """
    import open_clip

    if not spec.tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(spec.model)[:_TAGS_SHOWN]) or "none"
        cure = f"give open_clip:{spec.model}/TAG (published: {tags}) or weights=FILE"
        raise ConfigError(f"Encoder open_clip:{spec.model} names no weights; {cure}.")
    config = _tag_config(spec.model, spec.tag)
    repo, _, file = config.get("hf_hub", "").rpartition("/")
    if not (repo or config.get("url")):
        raise WeightsNotFoundError(f"open_clip says no address for {spec.model}/{spec.tag}; give weights=FILE.")
    safe = f"{file.rpartition('.')[0]}.safetensors"
    return RemoteWeights(repo, (safe, file) if file else _FILES, url=config.get("url", ""))


def build(architecture: Architecture) -> "torch.nn.Module":
    """Return the untrained image tower; the text tower is never made."""
    import open_clip
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    config = open_clip.get_model_config(architecture.model)
    options = dict(architecture.options)
    quick_gelu = options.pop("quick_gelu", config.get("quick_gelu", False))
    embed_dim = options.pop("embed_dim", config["embed_dim"])
    known = {field.name for field in fields(CLIPVisionCfg)}
    if not options.keys() <= known:
        wrong = ", ".join(sorted(options.keys() - known))
        raise EncoderError(f"open_clip has no option {wrong}; it has embed_dim, {', '.join(sorted(known))}.")
    vision = config["vision_cfg"] | options | {"timm_model_pretrained": False}
    try:
        tower: torch.nn.Module = _build_vision_tower(embed_dim, vision, quick_gelu)
    except Exception as error:
        raise EncoderError(
            f"open_clip cannot build {architecture.model!r} with {options} ({error}); correct them."
        ) from error
    return tower


def preprocessing(spec: EncoderSpec, architecture: Architecture, module: "torch.nn.Module") -> Preprocessing:
    """Return what the configuration of the weights says, at the size of the tower."""
    from open_clip.transform import PreprocessCfg

    config = {"mean": PreprocessCfg.mean, "std": PreprocessCfg.std, **_tag_config(architecture.model, spec.tag)}
    size: Any = module.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    if height != width:
        raise EncoderError(f"open_clip model {architecture.model!r} wants {height} x {width}; take a square one.")
    return Preprocessing(
        size=int(height),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config.get("interpolation", "bicubic"),
        resize=config.get("resize_mode", "shortest"),
    )


def adapt(state: State, module: "torch.nn.Module") -> State:
    """Keep the image tower, with its position embeddings at the size of the model."""
    from open_clip.model import resize_pos_embed

    if is_of_transformers(state):
        state = to_open_clip(state)
    if not any(name.startswith(_TOWER) for name in state):
        state = {_TOWER + name: value for name, value in state.items()}
    state = {name: value for name, value in state.items() if name.startswith(_TOWER)}
    resize_pos_embed(state, SimpleNamespace(visual=module))
    return {name.removeprefix(_TOWER): value for name, value in state.items()}
