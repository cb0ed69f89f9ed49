import math

import pytest
import torch
from torch.autograd import gradcheck

from geoindex.training.losses import (
    expected_haversine,
    geographic_contrastive,
    haversine_cross_entropy,
    soft_labels,
)


def batch(seed: int = 0, count: int = 12, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    places = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 300.0
    return embeddings, torch.cdist(places, places), torch.eye(count, dtype=torch.bool)


def contrastive(embeddings, distance_km, same, temperature=0.5, lambda_km=100.0):
    losses = geographic_contrastive(embeddings, embeddings, distance_km, same, temperature, lambda_km)
    return losses.mean() if len(losses) else losses.sum()


@pytest.mark.parametrize(("tau_km", "weights"), [(75.0, [0.7165, 0.3679, 0.0183]), (65.0, [0.6807, 0.3154, 0.0099])])
def test_weights_fall_with_the_distance_beyond_the_true_class(tau_km, weights):
    labels = soft_labels(torch.tensor([[40.0, 65.0, 115.0, 340.0]]), torch.tensor([40.0]), tau_km)[0]
    assert (labels[1:] / labels[0]).tolist() == pytest.approx(weights, abs=5e-5)
    assert labels.sum().item() == pytest.approx(1.0)


def test_a_nearer_class_counts_as_much_as_the_true_one():
    labels = soft_labels(torch.tensor([[10.0, 40.0, 40.0]]), torch.tensor([40.0]), 75.0)[0]
    assert labels.tolist() == pytest.approx([1 / 3] * 3)


def test_a_tiny_tau_makes_one_hot_labels_and_a_huge_one_even_ones():
    distance_km = torch.tensor([[5.0, 900.0, 20015.0]])
    assert soft_labels(distance_km, torch.tensor([5.0]), 1e-3)[0].tolist() == [1.0, 0.0, 0.0]
    assert soft_labels(distance_km, torch.tensor([5.0]), 1e9)[0].tolist() == pytest.approx([1 / 3] * 3, abs=1e-4)


def test_cross_entropy_in_closed_form():
    logits = torch.tensor([[0.0, math.log(3.0)], [2.0, 2.0]])
    labels = torch.tensor([[1.0, 0.0], [0.3, 0.7]])
    assert haversine_cross_entropy(logits, labels).mean().item() == pytest.approx((math.log(4.0) + math.log(2.0)) / 2)


def test_cross_entropy_is_least_at_the_labels_themselves():
    labels = soft_labels(torch.tensor([[3.0, 50.0, 300.0]]), torch.tensor([3.0]), 75.0)
    best = haversine_cross_entropy(labels.log(), labels).item()
    for seed in range(5):
        other = torch.randn(1, 3, generator=torch.Generator().manual_seed(seed))
        assert haversine_cross_entropy(other, labels).item() > best


def test_expected_distance_in_closed_form():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert expected_haversine(logits, torch.tensor([[100.0, 20.0]])).item() == pytest.approx(40.0)


def test_contrastive_loss_in_closed_form():
    # anchor 0: partner 1 at 0 km with cosine 1, partner 2 infinitely far with cosine 0
    embeddings = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    distance_km = torch.tensor([[0.0, 0.0, 1e6], [0.0, 0.0, 1e6], [1e6, 1e6, 0.0]])
    loss = contrastive(embeddings, distance_km, torch.eye(3, dtype=torch.bool))
    # anchors 0 and 1 alike, anchor 2 has nobody near
    assert loss.item() == pytest.approx(math.log(1.0 + math.exp(-1.0 / 0.5)))


def test_distance_weighs_continuously():
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    for d_km in (0.0, 30.0, 100.0):
        distance_km = torch.tensor([[0.0, d_km], [d_km, 0.0]])
        assert contrastive(embeddings, distance_km, torch.eye(2, dtype=torch.bool)).item() == pytest.approx(d_km / 100)


def test_anchors_without_a_near_partner_give_no_loss_and_no_gradient():
    embeddings = torch.randn(4, 3, requires_grad=True)
    far_km = 1e5 * (1 - torch.eye(4))
    loss = contrastive(embeddings, far_km, torch.eye(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert embeddings.grad is not None
    assert (embeddings.grad == 0).all()


def test_the_order_of_a_batch_does_not_matter():
    embeddings, distance_km, same = batch()
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(1))
    mixed = contrastive(embeddings[order], distance_km[order][:, order], same)
    assert mixed.item() == pytest.approx(contrastive(embeddings, distance_km, same).item(), rel=1e-6)


def test_anchors_of_one_process_see_the_images_of_all():
    embeddings, distance_km, same = batch()
    whole = contrastive(embeddings, distance_km, same)
    halves = [
        geographic_contrastive(embeddings[part], embeddings, distance_km[part], same[part], 0.5, 100.0).mean()
        for part in (slice(0, 6), slice(6, 12))
    ]
    assert torch.stack(halves).mean().item() == pytest.approx(whole.item(), rel=1e-6)


def test_gradients_are_right():
    embeddings, distance_km, same = batch(count=6, dim=3)
    assert gradcheck(lambda e: contrastive(e, distance_km, same), embeddings.requires_grad_())
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    far_km = torch.rand(3, 5, dtype=torch.float64) * 500
    labels = soft_labels(far_km, far_km[:, 0], 75.0)
    assert gradcheck(lambda x: haversine_cross_entropy(x, labels), logits)
    assert gradcheck(lambda x: expected_haversine(x, far_km), logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_antipodes_and_equal_images_give_numbers(dtype):
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], dtype=dtype, requires_grad=True)
    distance_km = torch.tensor([[0.0, 20015.1, 0.0], [20015.1, 0.0, 20015.1], [0.0, 20015.1, 0.0]])
    loss = contrastive(embeddings, distance_km, torch.eye(3, dtype=torch.bool), temperature=0.05)
    labels = soft_labels(distance_km, torch.zeros(3), 75.0)
    loss = loss + haversine_cross_entropy(embeddings @ embeddings.T * 500, labels).mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()
