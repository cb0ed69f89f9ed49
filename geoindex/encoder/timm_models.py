"""Models of timm: pooled features before the classifier."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geoindex.encoder.backbone import Architecture, RemoteWeights, State, refuse_unknown
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.spec import EncoderSpec
from geoindex.errors import EncoderError, WeightsNotFoundError

if TYPE_CHECKING:
    import torch

_FILES = ("model.safetensors", "pytorch_model.bin")
_RESIZES = {"center": "shortest", "border": "longest", "squash": "squash"}


def architecture(spec: EncoderSpec, image_size: int | None) -> Architecture:
    """Return what the name means; `image_size` goes to models that are built for one size."""
    import timm

    base, dot, _ = spec.model.partition(".")
    if not timm.is_model(base):
        refuse_unknown("timm model", spec.model, timm.list_models())
    if dot:
        refuse_unknown("timm model", spec.model, timm.list_pretrained(f"{base}.*"))
    options: dict[str, Any] = dict(spec.options)
    if image_size is not None and (_config(spec.model).fixed_input_size or "img_size" in options):
        options["img_size"] = image_size
    return Architecture("timm", spec.model, options)


def _config(model: str) -> Any:
    import timm
    from timm.models import PretrainedCfg

    return timm.get_pretrained_cfg(model) or PretrainedCfg()


def remote_weights(spec: EncoderSpec) -> RemoteWeights:
    """Return where the published weights lie.

    Raises:
        WeightsNotFoundError: if timm publishes none.
    """
    config = _config(spec.model)
    if not (config.hf_hub_id or config.url):
        cure = f"give weights=FILE, or timm:{spec.model}/random for untrained ones"
        raise WeightsNotFoundError(f"timm publishes no weights for {spec.model!r}; {cure}.")
    repo, _, revision = (config.hf_hub_id or "").partition("@")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
    return RemoteWeights(repo, files, revision or None, config.url or "")


def build(architecture: Architecture) -> "torch.nn.Module":
    """Return the untrained model without a classifier."""
    import timm

    try:
        options = {"num_classes": 0, **architecture.options}
        module: torch.nn.Module = timm.create_model(architecture.model, pretrained=False, **options)
    except Exception as error:
        options = dict(architecture.options)
        raise EncoderError(
            f"timm cannot build {architecture.model!r} with {options} ({error}); correct them."
        ) from error
    return module


def preprocessing(spec: EncoderSpec, architecture: Architecture, module: "torch.nn.Module") -> Preprocessing:
    """Return what the pretrained configuration says; models that take `img_size` are fed that size."""
    return read_config(architecture, getattr(module, "pretrained_cfg", {}))


def read_config(architecture: Architecture, pretrained: Mapping[str, Any]) -> Preprocessing:
    """Return what a pretrained configuration of timm says."""
    from timm.data import resolve_data_config

    config = resolve_data_config(pretrained_cfg=dict(pretrained))
    _, height, width = config["input_size"]
    size = architecture.options.get("img_size", height)
    if height != width or not isinstance(size, int):
        raise EncoderError(f"timm model {architecture.model!r} wants {height} x {width} pixels; take a square one.")
    mean = tuple(config["mean"])
    return Preprocessing(
        size=size,
        mean=mean,
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        resize=_RESIZES[config["crop_mode"]],
        crop_pct=config["crop_pct"],
        fill=tuple(round(255 * m) for m in mean),
    )


def adapt(state: State, module: "torch.nn.Module") -> State:
    """Apply timm's own conversion of checkpoints and drop the classifier."""
    convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        state = dict(convert(state, module))
    classifier = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    heads = tuple(f"{name}." for name in names)
    wanted = module.state_dict().keys()
    return {name: value for name, value in state.items() if name in wanted or not name.startswith(heads)}
