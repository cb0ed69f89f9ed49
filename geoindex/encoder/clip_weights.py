"""Weights of CLIP as transformers names them -> as open_clip's image tower does.

Names that have no partner are left as they are, so that loading, which is strict, refuses them.
"""

import re

from geoindex.encoder.backbone import State
from geoindex.errors import WeightsError

_TEXT = ("text_model.", "text_projection.", "logit_scale")
_COUNTER = "vision_model.embeddings.position_ids"
"""The numbers from 0, which releases of transformers before 4.31 save among the weights."""

_MARK = "embeddings.class_embedding"
_PROJECTION = "visual_projection.weight"
_NAMES = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.pre_layrnorm.weight": "ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "ln_pre.bias",
    "vision_model.post_layernorm.weight": "ln_post.weight",
    "vision_model.post_layernorm.bias": "ln_post.bias",
    _PROJECTION: "proj",
}
_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.([\w.]+)\.(weight|bias)")
_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_QUERY, _KEY, _VALUE = (f"self_attn.{letter}_proj" for letter in "qkv")


def is_of_transformers(state: State) -> bool:
    """Tell whether weights have the names that transformers gives to CLIP."""
    return any(name.endswith(_MARK) for name in state)


def to_open_clip(state: State) -> State:
    """Return the image tower of a CLIP model of transformers under the names of open_clip.

    Raises:
        WeightsError: if the projection is missing, which a plain CLIPVisionModel is saved without.
    """
    if _PROJECTION not in state:
        cure = "save the CLIPModel or the CLIPVisionModelWithProjection"
        raise WeightsError(f"Weights of CLIP have no {_PROJECTION}, which makes embeddings of features; {cure}.")
    image = {name: value for name, value in state.items() if not name.startswith(_TEXT) and name != _COUNTER}
    renamed = {_rename(name): value for name, value in _join(image).items()}
    projection = renamed["proj"]
    renamed["proj"] = projection.t() if projection.ndim == 2 else projection
    return renamed


def _join(state: State) -> State:
    """Stack queries, keys and values, which open_clip holds as one."""
    import torch

    joined = dict(state)
    for name in state:
        layer = _LAYER.fullmatch(name)
        if layer is None or layer[2] != _QUERY:
            continue
        names = [name.replace(_QUERY, part) for part in (_QUERY, _KEY, _VALUE)]
        if len({state[each].shape if each in state else None for each in names}) == 1:
            stacked = torch.cat([joined.pop(each) for each in names])
            joined[f"transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}"] = stacked
    return joined


def _rename(name: str) -> str:
    layer = _LAYER.fullmatch(name)
    if layer is not None and layer[2] in _PARTS:
        return f"transformer.resblocks.{layer[1]}.{_PARTS[layer[2]]}.{layer[3]}"
    return _NAMES.get(name, name)
