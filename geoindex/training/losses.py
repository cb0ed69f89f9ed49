"""Losses of geolocation (paper section 3.2; architecture, section on the maths), as functions of tensors.

All give one loss an image, whatever the order of the batch. Half precision is widened to float32 first.
"""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from geoindex.geo import EARTH_RADIUS_KM

NEAR = 0.05
"""Least weight of the nearest partner for which an anchor counts in the contrastive loss: three times lambda away."""


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def soft_labels(distance_km: Tensor, true_km: Tensor, tau_km: float) -> Tensor:
    """Return how right each class is for a position, (B, K), rows summing to 1.

    A class weighs exp(-max(0, D_i - D_true) / tau), so one that is nearer than the true class counts as much.

    Args:
        distance_km: from each position to the centroid of each class, (B, K).
        true_km: to the centroid of its own class, (B,).
        tau_km: distance over which the weight falls to 1/e.
    """
    beyond_km = (distance_km - true_km[:, None]).clamp(min=0.0)
    return torch.softmax(-_wide(beyond_km) / tau_km, dim=1)


def haversine_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy between logits and soft labels, each (B, K), as (B,)."""
    return -(labels * log_softmax(_wide(logits), dim=1)).sum(dim=1)


def haversine(a: Tensor, b: Tensor) -> Tensor:
    """Return distances in km between points, unit vectors (B, 3) each, as (B,); gradients are finite everywhere."""
    apart, together = (torch.linalg.vector_norm(_wide(c), dim=1) for c in (a - b, a + b))
    return 2.0 * EARTH_RADIUS_KM * torch.atan2(apart, together)


def expected_haversine(logits: Tensor, distance_km: Tensor) -> Tensor:
    """Return the km that one is off on average if the class is drawn by its probability; both (B, K), result (B,)."""
    return (torch.softmax(_wide(logits), dim=1) * distance_km).sum(dim=1)


def geographic_contrastive(
    anchors: Tensor, others: Tensor, distance_km: Tensor, same: Tensor, temperature: float, lambda_km: float
) -> Tensor:
    """Return the contrastive loss of anchors, with weights that fall with distance (the paper's log-ratio form).

    For each anchor, -log of the share of exp(cosine / temperature) that lies on near images, an image counting as near
    by exp(-d / lambda). Anchors without a near partner are skipped: there are as many losses as anchors that have one.

    Args:
        anchors: embeddings, (B, D), of any length.
        others: embeddings to compare with, (N, D): the batch itself, or the batches of all processes.
        distance_km: between the positions of both, (B, N).
        same: where an anchor meets itself, (B, N) bool.
        temperature: of the cosines; the paper's best is 0.5.
        lambda_km: distance over which nearness falls to 1/e.
    """
    cosine = normalize(_wide(anchors), dim=1) @ normalize(_wide(others), dim=1).T
    logits = (cosine / temperature).masked_fill(same, -torch.inf)
    nearness = (-_wide(distance_km) / lambda_km).masked_fill(same, -torch.inf)
    counted = nearness.amax(dim=1).exp() >= NEAR
    near = torch.logsumexp((logits + nearness)[counted], dim=1)
    return torch.logsumexp(logits[counted], dim=1) - near
