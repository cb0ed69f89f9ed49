"""Checkpoint files -> weights by name, and into a model, strictly."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoindex.encoder.backbone import State
from geoindex.errors import WeightsError, WeightsNotFoundError

if TYPE_CHECKING:
    import torch

_NESTS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_NAMES_SHOWN = 3


def read_weights(path: str | Path) -> State:
    """Read a checkpoint: .safetensors, or a file of torch that holds tensors and nothing to execute.

    Weights nested under `state_dict` or `model`, and names that begin with `module.`, are unwrapped.

    Raises:
        WeightsNotFoundError: if there is no such file.
        WeightsError: if it cannot be read, or holds no weights.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsNotFoundError(f"No weights file at '{path}'; give the path of a .safetensors or .pt file.")
    try:
        loaded = _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)
    except Exception as error:  # both readers raise many kinds on damaged files
        # torch's own words advise to execute what the file holds
        what = getattr(error, "strerror", None) or "it is damaged, or no file of tensors alone"
        cure = "fetch it again, or save a state dict"
        raise WeightsError(f"Cannot read weights '{path}': {what}; {cure}.") from error
    state = _unwrap(loaded)
    if not state:
        raise WeightsError(f"The file '{path}' holds no weights by name; save a state dict.")
    return state


def _read_safetensors(file: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(file)


def _read_torch(file: Path) -> Any:
    import torch

    return torch.load(file, map_location="cpu", weights_only=True)


def _unwrap(loaded: Any) -> State:
    import torch

    while isinstance(loaded, Mapping) and (nest := next((n for n in _NESTS if _is_nest(loaded, n)), None)):
        loaded = loaded[nest]
    if not isinstance(loaded, Mapping):
        return {}
    state = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _is_nest(loaded: Mapping[Any, Any], name: str) -> bool:
    return isinstance(loaded.get(name), Mapping)


def load_strictly(module: "torch.nn.Module", state: State, source: str) -> None:
    """Put weights into a model; every name and shape must fit.

    Raises:
        WeightsError: if names are missing or left over, shapes differ, or a number is not finite.
    """
    wanted = module.state_dict()
    differing = [
        f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    problems = [("missing", wanted.keys() - state.keys()), ("unknown", state.keys() - wanted.keys())]
    found = [f"{kind}: {_first(sorted(names))}" for kind, names in problems if names]
    found += [f"other shape: {_first(differing)}"] if differing else []
    if found:
        raise WeightsError(f"Weights of {source} do not fit the model: {'; '.join(found)}; name the right model.")
    broken = [name for name, value in state.items() if value.is_floating_point() and not _is_finite(value)]
    if broken:
        raise WeightsError(
            f"Weights of {source} hold numbers that are not finite ({_first(broken)}); take an earlier checkpoint."
        )
    module.load_state_dict(state)


def _is_finite(value: "torch.Tensor") -> bool:
    return bool(value.isfinite().all())


def _first(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
