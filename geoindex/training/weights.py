"""Which weights of the encoder learn, and at what rate."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from geoindex.errors import ConfigError, MissingExtraError
from geoindex.recipe import FineTuningRecipe, TrainingRecipe
from geoindex.training.learner import Learner


def open_weights(backbone: nn.Module, recipe: FineTuningRecipe) -> nn.Module:
    """Freeze what does not learn; return the backbone, wrapped where low-rank additions learn.

    Raises:
        ConfigError: if the encoder has no blocks, or fewer than are asked for.
        MissingExtraError: if LoRA is asked for and peft is not installed.
    """
    backbone.requires_grad_(recipe.weights == "all")
    if recipe.weights == "last":
        for parameter in _last(backbone, recipe.blocks):
            parameter.requires_grad_(True)
    return _with_lora(backbone, recipe.rank) if recipe.weights == "lora" else backbone


def merged(backbone: nn.Module) -> nn.Module:
    """Return the backbone with low-rank additions added to its weights, as it was built."""
    merge: Callable[[], nn.Module] | None = getattr(backbone, "merge_and_unload", None)
    return merge() if merge else backbone


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """Return the blocks of one kind that hold most of the weights, in order, whatever stages they stand in.

    Raises:
        ConfigError: if there are none.
    """
    kinds: dict[type[nn.Module], list[nn.Module]] = {}
    for module in backbone.modules():
        children = list(module.children()) if isinstance(module, (nn.ModuleList, nn.Sequential)) else []
        if len(children) > 1 and len({type(child) for child in children}) == 1:
            kinds.setdefault(type(children[0]), []).extend(children)
    if not kinds:
        raise ConfigError("This encoder has no sequence of blocks; take finetuning.weights all or frozen.")
    return max(kinds.values(), key=lambda blocks: sum(p.numel() for block in blocks for p in block.parameters()))


def _last(backbone: nn.Module, count: int) -> Iterator[nn.Parameter]:
    """Yield the weights of the last blocks and of all that comes after them."""
    blocks = blocks_of(backbone)
    if count > len(blocks):
        raise ConfigError(f"Recipe key 'finetuning.blocks' is {count}; this encoder has {len(blocks)} blocks.")
    first = next(blocks[len(blocks) - count].parameters())
    reached = False
    for parameter in backbone.parameters():
        reached = reached or parameter is first
        if reached:
            yield parameter


def _with_lora(backbone: nn.Module, rank: int) -> nn.Module:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError(
            "LoRA needs the extra 'train'; install it with: pip install 'geoindex[train]'."
        ) from error
    inside = {id(module) for block in blocks_of(backbone) for module in block.modules()}
    targets = [
        name for name, module in backbone.named_modules()
        if id(module) in inside and type(module) in (nn.Linear, nn.MultiheadAttention)
    ]  # fmt: skip
    if not targets:
        raise ConfigError("The blocks of this encoder have no linear layers for LoRA; take finetuning.weights last.")
    wrapped: nn.Module = get_peft_model(backbone, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    return wrapped


def rates(learner: Learner, training: TrainingRecipe, tuning: FineTuningRecipe) -> list[dict[str, Any]]:
    """Return groups of weights for an optimiser: two learning rates, and no decay of biases, norms and scales."""
    backbone = [p for p in learner.backbone.parameters() if p.requires_grad]
    heads = [p for p in learner.heads() if p.requires_grad]
    groups = [
        {"params": [p for p in backbone if p.ndim > 1], "lr": tuning.lr, "weight_decay": tuning.weight_decay},
        {"params": [p for p in backbone if p.ndim <= 1], "lr": tuning.lr, "weight_decay": 0.0},
        {
            "params": learner.maps(),
            "lr": training.lr * training.projection_rate,
            "weight_decay": training.weight_decay,
        },
        {"params": [p for p in heads if p.ndim > 1], "lr": training.lr, "weight_decay": training.weight_decay},
        {"params": [p for p in heads if p.ndim <= 1], "lr": training.lr, "weight_decay": 0.0},
    ]
    return [group | {"base": group["lr"]} for group in groups if group["params"]]
