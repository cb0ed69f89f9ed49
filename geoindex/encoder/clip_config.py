"""What transformers writes beside the weights of CLIP -> the architecture and the preprocessing of its image tower.

A crop whose centre lies between two pixels is rounded as everywhere here, which is as torchvision does; the processors
of transformers disagree there among themselves, by one pixel.
"""

import math
from collections.abc import Mapping
from typing import Any

from geoindex.encoder.backbone import Architecture
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.errors import EncoderError
from geoindex.store.kinds import fits, is_flag, is_scale

MODEL_TYPES = ("clip", "clip_vision_model")
OTHER_TYPES = {
    "dinov2": "timm:vit_small_patch14_dinov2.lvd142m",
    "dinov2_with_registers": "timm:vit_small_patch14_reg4_dinov2.lvd142m",
    "dinov3_vit": "timm:vit_small_patch16_dinov3.lvd1689m",
    "dinov3_convnext": "timm:convnext_tiny.dinov3_lvd1689m",
    "siglip": "open_clip:ViT-B-16-SigLIP/webli",
    "siglip2": "open_clip:ViT-B-16-SigLIP2/webli",
}
"""Model types of transformers that another library computes, with a name of the kind there."""

_BASE = "ViT-B-32"
"""Any transformer of open_clip: the options say all that this name does, so that no release of it can change them."""

_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 32,
    "projection_dim": 512,
    "num_channels": 3,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
"""What transformers takes for granted, and leaves out of files."""

_ACTIVATIONS = ("gelu", "quick_gelu")
_PROCESSORS = ("CLIPImageProcessor", "CLIPFeatureExtractor")
_INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def read_architecture(config: Mapping[str, Any], source: str) -> Architecture:
    """Return the image tower that a config.json describes.

    Args:
        config: what it says.
        source: what to call it in messages.

    Raises:
        EncoderError: if it is no CLIP model, or one that open_clip does not have.
    """
    vision = _DEFAULTS | _vision(config, source)
    width, inner = _count(vision, "hidden_size", source), _count(vision, "intermediate_size", source)
    heads = _count(vision, "num_attention_heads", source)
    eps, act = vision["layer_norm_eps"], vision["hidden_act"]
    if act not in _ACTIVATIONS:
        raise _odd(source, "hidden_act", act, " or ".join(_ACTIVATIONS))
    if not is_scale(eps):
        raise _odd(source, "layer_norm_eps", eps, "a positive number")
    if width % heads:
        raise _odd(source, "num_attention_heads", heads, f"a divisor of hidden_size {width}")
    if vision["num_channels"] != 3:
        raise _odd(source, "num_channels", vision["num_channels"], "3")
    options = {
        "image_size": _side(vision, "image_size", source),
        "patch_size": _side(vision, "patch_size", source),
        "layers": _count(vision, "num_hidden_layers", source),
        "width": width,
        "head_width": width // heads,
        "mlp_ratio": _ratio(width, inner),
        "norm_kwargs": {"eps": eps},
        "quick_gelu": act == "quick_gelu",
        "embed_dim": _count(vision, "projection_dim", source),
    }
    return Architecture("open_clip", _BASE, options)


def _vision(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise EncoderError(f"{source} describes {_other(config)}")
    if kind == "clip_vision_model":
        return dict(config)
    # transformers lets the older key win where a file has both
    older = config.get("vision_config_dict")
    vision = config.get("vision_config") if older is None else older
    if not isinstance(vision, Mapping | None):
        raise _odd(source, "vision_config", vision, "a table")
    return {**(vision or {}), "projection_dim": config.get("projection_dim", _DEFAULTS["projection_dim"])}


def _other(config: Mapping[str, Any]) -> str:
    """Say what a config.json describes that is no CLIP model, and how to load that."""
    architecture, published = config.get("architecture"), config.get("pretrained_cfg")
    if isinstance(architecture, str):
        tag = published.get("tag") if isinstance(published, Mapping) else None
        return f"a model of timm; name it timm:{architecture}{f'.{tag}' if tag else ''}."
    kind = config.get("model_type")
    example = OTHER_TYPES.get(str(kind))
    cure = f"name such a model as in {example}" if example else "name it timm:MODEL or open_clip:MODEL/PRETRAINED"
    return f"a model of type {kind!r}, and only CLIP ({' or '.join(MODEL_TYPES)}) is read like this; {cure}."


def _ratio(width: int, inner: int) -> float:
    """Return the ratio that open_clip multiplies by and rounds down, as a number that leads back to `inner`."""
    ratio = inner / width
    return ratio if int(width * ratio) == inner else (inner + 0.5) / width


def read_preprocessing(config: Mapping[str, Any], side: int, source: str) -> Preprocessing:
    """Return the preprocessing that a preprocessor_config.json or processor_config.json describes.

    Args:
        config: what it says.
        side: side in pixels of the images that the model takes.
        source: what to call the file in messages.

    Raises:
        EncoderError: if it is of another processor than CLIP's, or asks for what `Preprocessing` cannot do.
    """
    values = config.get("image_processor", config)
    if not isinstance(values, Mapping):
        raise _odd(source, "image_processor", values, "a table")
    kind = values.get("image_processor_type", values.get("feature_extractor_type", _PROCESSORS[0]))
    if not str(kind).startswith(_PROCESSORS):
        raise _odd(source, "image_processor_type", kind, _PROCESSORS[0])
    size, resize, crop_pct = _geometry(values, side, source)
    interpolation = values.get("resample")
    if not fits(interpolation, int) or interpolation not in _INTERPOLATIONS:
        raise _odd(source, "resample", interpolation, f"one of {', '.join(map(str, _INTERPOLATIONS))}")
    mean, std = _colours(values, source)
    return Preprocessing(size, mean, std, _INTERPOLATIONS[interpolation], resize, crop_pct)


def _geometry(values: Mapping[str, Any], side: int, source: str) -> tuple[int, str, float]:
    """Return the size, what is resized, and the share of it that the centre keeps."""
    size, resize = values.get("size"), "shortest"
    if isinstance(size, Mapping) and "shortest_edge" not in size:
        resize, edge = "squash", _side(values, "size", source)
    else:
        edge = _count(size if isinstance(size, Mapping) else {"shortest_edge": size}, "shortest_edge", source)
    if not _flag(values, "do_resize", source):
        raise _odd(source, "do_resize", False, "true")
    cropped = _flag(values, "do_center_crop", source)
    if not cropped and resize == "shortest":
        raise _odd(source, "do_center_crop", False, "true, or a size with height and width")
    crop = _side(values, "crop_size", source) if cropped else edge
    if crop != side or crop > edge:
        raise _odd(source, "crop_size" if cropped else "size", crop, f"{side}, as the model, and within size")
    share = crop / edge
    return crop, resize, share if math.floor(crop / share) == edge else crop / (edge + 0.5)


def _colours(values: Mapping[str, Any], source: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and deviation of pixels in 0..1."""
    factor = values.get("rescale_factor", 1 / 255)
    if not _flag(values, "do_rescale", source) or not is_scale(factor) or not math.isclose(factor, 1 / 255):
        raise _odd(source, "rescale_factor", factor, "1/255, with do_rescale")
    if not _flag(values, "do_normalize", source):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _triple(values, "image_mean", source), _triple(values, "image_std", source)


def _triple(values: Mapping[str, Any], key: str, source: str) -> tuple[float, float, float]:
    value = values.get(key)
    if not isinstance(value, list) or len(value) != 3 or not all(fits(v, float) and math.isfinite(v) for v in value):
        raise _odd(source, key, value, "three numbers")
    if key == "image_std" and min(value) <= 0:
        raise _odd(source, key, value, "three positive numbers")
    return float(value[0]), float(value[1]), float(value[2])


def _flag(values: Mapping[str, Any], key: str, source: str) -> bool:
    value = values.get(key, True)
    if not is_flag(value):
        raise _odd(source, key, value, "true or false")
    return bool(value)


def _count(values: Mapping[str, Any], key: str, source: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _odd(source, key, value, "a whole number from 1")
    return value


def _side(values: Mapping[str, Any], key: str, source: str) -> int:
    """Return the side of a square that is written as one number, two, or height and width."""
    value = values.get(key)
    if isinstance(value, Mapping) and value.keys() == {"height", "width"}:
        value = list(value.values())
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return _count({key: value}, key, source)


def _odd(source: str, key: str, value: object, wanted: str) -> EncoderError:
    cure = "take a model that has it, or copy the file again"
    return EncoderError(f"{source} has {key} {value!r}, and geoindex needs {wanted}; {cure}.")
