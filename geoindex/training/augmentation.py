"""Training images, varied: nearer, farther to a side, lighter, greyer. Never mirrored: text and traffic have a side."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

ZOOM = 0.25
"""Most of a side that a crop leaves out, at strength 1."""

LIGHT, CONTRAST, SATURATION = 0.15, 0.15, 0.15
"""Largest change of each, at strength 1."""

AT_ONCE = 2**20
"""Pixels times colours that are varied at a time: what lies between the steps then stays in a cache."""

GREY = (0.299, 0.587, 0.114)
"""Luminance of red, green, blue (ITU-R BT.601)."""


def vary(pixels: Tensor, strength: float, random: np.random.Generator) -> Tensor:
    """Return images (B, 3, S, S) from 0 to 255, each cut to a part and lit on its own.

    Args:
        pixels: uint8, on the device that does the work.
        strength: 0 leaves them alone, 1 cuts off up to a quarter of a side.
        random: the same state gives the same images on every device, up to rounding.
    """
    if strength == 0:
        return pixels.float()
    drawn = random.uniform(-1.0, 1.0, (6, len(pixels))).astype(np.float32)
    numbers = torch.from_numpy(drawn).to(pixels.device)
    varied = torch.empty(pixels.shape, device=pixels.device)
    size = max(1, AT_ONCE // pixels.shape[1:].numel())
    for first in range(0, len(pixels), size):
        part = slice(first, first + size)
        zoom, across, down, light, contrast, saturation = numbers[:, part]
        seen = _cut(pixels[part].float(), zoom, across, down, strength)
        varied[part] = _lit(seen, light, contrast, saturation, strength)
    return varied


def _cut(pixels: Tensor, zoom: Tensor, across: Tensor, down: Tensor, strength: float) -> Tensor:
    share = 1.0 - min(ZOOM * strength, 0.9) * (zoom + 1.0) / 2.0
    boxes = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    boxes[:, 0, 0] = boxes[:, 1, 1] = share
    boxes[:, 0, 2], boxes[:, 1, 2] = across * (1.0 - share), down * (1.0 - share)
    grid = affine_grid(boxes, list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def _lit(pixels: Tensor, light: Tensor, contrast: Tensor, saturation: Tensor, strength: float) -> Tensor:
    """Change colours of each image by one matrix and one offset, so that its pixels are read twice and no more."""

    def factor(drawn: Tensor, most: float) -> Tensor:
        return (1.0 + most * strength * drawn).view(-1, 1, 1)

    lit, strong, coloured = factor(light, LIGHT), factor(contrast, CONTRAST), factor(saturation, SATURATION)
    grey = torch.tensor(GREY, device=pixels.device).expand(3, 3)
    colours = coloured * torch.eye(3, device=pixels.device) + (1.0 - coloured) * grey
    flat = pixels.flatten(2)
    middle = (colours @ flat.mean(dim=2, keepdim=True)).mean(dim=1, keepdim=True)
    offset = (lit * (1.0 - strong) * middle).expand(-1, 3, 1)
    return torch.baddbmm(offset, lit * strong * colours, flat).clamp_(0.0, 255.0).view_as(pixels)
