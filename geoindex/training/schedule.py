"""How learning rates change over a fit."""

import math


def rate_at(share: float, warm_up: float) -> float:
    """Return the share of the learning rate at a point of the fit: linear warm-up, then half a cosine down to zero.

    Args:
        share: of the fit that is done after the step, above 0 and up to 1.
        warm_up: share of the fit in which the rate grows.
    """
    if share < warm_up:
        return share / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (share - warm_up) / (1.0 - warm_up)))
