"""Images -> features, with everything that the model wants of them."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoindex.encoder.backbone import Architecture, Backbone
from geoindex.encoder.backends import TORCH
from geoindex.encoder.device import Vectors, choose_batch_size, choose_device, choose_dtype
from geoindex.encoder.fingerprint import fingerprint_of
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.encoder.spec import LIBRARIES, parse_spec
from geoindex.encoder.torch_backbone import TorchBackbone
from geoindex.errors import EncoderError
from geoindex.images import ImageInput, load_image
from geoindex.recipe import EncoderRecipe
from geoindex.store.durable import storage_errors, sync, write_durably

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT = 1
"""Version of the keys of `Encoder.to_config`."""


class Encoder:
    """A vision model that turns images into features; `load_encoder` makes one.

    Methods may be called from many threads.

    Attributes:
        spec: the name that it was loaded by.
        weights: the checkpoint that replaced the published weights; empty if none did.
        architecture: the model without its weights.
        preprocessing: what it wants of its pixels.
        fingerprint: hash of weights, architecture and preprocessing; equal fingerprints mean equal features, to the
            rounding of what computes and resizes.
        recipe: overrides of the preprocessing, device, arithmetic and batch size that it was loaded with.
        batch_size: images of a forward pass of `encode`.
        backend: what computes.
    """

    backend = TORCH

    def __init__(
        self,
        spec: str,
        architecture: Architecture,
        preprocessing: Preprocessing,
        module: "torch.nn.Module",
        recipe: EncoderRecipe,
        *,
        weights: str = "",
    ) -> None:
        self.spec, self.weights = spec, weights
        self.architecture, self.preprocessing = architecture, preprocessing
        self.recipe = recipe
        self.fingerprint = fingerprint_of(architecture, preprocessing, module.state_dict())
        self._module, device = module, choose_device(recipe.device)
        self.batch_size = choose_batch_size(recipe.batch_size, device.type)
        self._backbone: Backbone = TorchBackbone(module, preprocessing, device, choose_dtype(recipe.dtype, device))

    @property
    def published(self) -> bool:
        """Tell whether its name alone stands for its weights.

        A checkpoint or a folder may be gone tomorrow, and seeded random weights depend on the release of torch.
        """
        named = not self.weights and self.spec.partition(":")[0] in LIBRARIES
        return named and not parse_spec(self.spec).is_random

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self._backbone.dim

    @property
    def weight_bytes(self) -> int:
        """Size of its weights."""
        return sum(value.numel() * value.element_size() for value in self.module.state_dict().values())

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.preprocessing.size

    @property
    def min_side(self) -> int:
        """Shorter side in pixels that an image should still have when `prepare` gets it."""
        return self.preprocessing.scaled

    @cached_property
    def device(self) -> str:
        """Where it computes, such as cpu or cuda:0."""
        return str(self._backbone.device)

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU where the search can go on."""
        return self.device.startswith("cuda")

    @property
    def dtype(self) -> str:
        """Arithmetic of the forward pass, such as float32; features are float32 in any case."""
        return str(self._backbone.dtype).removeprefix("torch.")

    @property
    def module(self) -> "torch.nn.Module":
        """The model itself, in evaluation mode and frozen.

        On a GPU its pass for single images is recorded, with its weights where they are: change a copy.
        """
        return self._module

    def prepare(self, image: "Image") -> NDArray[np.uint8]:
        """Return the pixels that the model sees, (3, image_size, image_size), of an upright RGB image."""
        return self.preprocessing.apply(image)

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of prepared images (B, 3, S, S) as (B, dim), in one forward pass if they fit.

        Raises:
            EncoderError: if the batch has another shape or type, not even one image fits into memory, or a feature is
                not finite.
        """
        self._check(batch)
        return self._backbone.features(batch) if len(batch) else np.zeros((0, self.dim), np.float32)

    def features_there(self, batch: NDArray[np.uint8]) -> Vectors:
        """Return as `features` does; those that a GPU computes are left there, unless `features` is another one.

        Raises:
            EncoderError: as `features` does.
        """
        replaced = type(self).features is not Encoder.features or "features" in vars(self)
        if replaced or not (self.on_gpu and len(batch)):
            return self.features(batch)
        self._check(batch)
        return self._backbone.features_there(batch)

    def _check(self, batch: NDArray[np.uint8]) -> None:
        wanted = (3, self.image_size, self.image_size)
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != wanted:
            got = f"{batch.shape} {batch.dtype}"
            raise EncoderError(f"A batch must be (B, 3, {wanted[1]}, {wanted[2]}) uint8, not {got}; use prepare().")

    def encode(self, images: Sequence[ImageInput]) -> NDArray[np.float32]:
        """Return the features of images, (N, dim), in order.

        Raises:
            UnreadableImageError: for the first image that cannot be read.
        """
        features = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), self.batch_size):
            chunk = images[start : start + self.batch_size]
            batch = np.stack([self.prepare(load_image(image, min_side=self.min_side)) for image in chunk])
            features[start : start + len(chunk)] = self.features(batch)
        return features

    def to_config(self) -> dict[str, Any]:
        """Return all that it takes to load it again, next to its weights, as plain JSON types."""
        return {
            "format": FORMAT,
            "spec": self.spec,
            "weights": self.weights,
            "architecture": self.architecture.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "dim": self.dim,
            "fingerprint": self.fingerprint,
        }

    def save(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which `load_encoder(folder)` reads.

        The files are on the disk when this returns, and a new folder appears only when it is complete.

        Raises:
            StorageError: if the disk is full or refuses writing.
        """
        folder = Path(folder)
        with storage_errors(folder):
            if folder.exists():
                self._write(folder)
                return
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(mkdtemp(prefix=f".{folder.name[:16]}.", dir=folder.parent))
            try:
                self._write(partial)
                partial.chmod(0o755)
                partial.rename(folder)
            finally:
                rmtree(partial, ignore_errors=True)
            sync(folder.parent)

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save

        # clones, because safetensors refuses weights that share memory
        state = {name: value.detach().cpu().clone() for name, value in self.module.state_dict().items()}
        weights = save({name: value.contiguous() for name, value in state.items()})
        write_durably(folder / WEIGHTS_FILE, weights)
        config = json.dumps(self.to_config(), indent=2, sort_keys=True) + "\n"
        write_durably(folder / CONFIG_FILE, config.encode())
