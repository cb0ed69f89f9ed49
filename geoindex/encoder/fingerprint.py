"""A name for what an encoder computes: the hash of its weights, architecture and preprocessing."""

import hashlib
import json
from typing import Any

from geoindex.encoder.backbone import Architecture, State
from geoindex.encoder.preprocessing import Preprocessing


def fingerprint_of(architecture: Architecture, preprocessing: Preprocessing, state: State) -> str:
    """Return 64 hex digits that change whenever features would; device, dtype and batch size do not count."""
    digest = hashlib.sha256(_canonical([architecture.identity, preprocessing.to_dict()]))
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(_canonical([name, str(value.dtype), list(value.shape)]))
        digest.update(value.flatten().view(dtype=_byte()).numpy().data)
    return digest.hexdigest()


def _byte() -> Any:
    import torch

    return torch.uint8


def _canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
