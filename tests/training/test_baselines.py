"""Regression baselines: heads that answer with points, and which weights of a ResNet learn."""

import numpy as np
import pytest
import torch

from geoindex.encoder import load_encoder
from geoindex.encoder.preprocessing import Preprocessing
from geoindex.geo import EARTH_RADIUS_KM, from_unit, haversine_km, to_unit
from geoindex.recipe import FineTuningRecipe
from geoindex.training.baselines import DegreesHead, RegressionLearner, UnitHead
from geoindex.training.classes import Truth
from geoindex.training.learner import Batch
from geoindex.training.losses import haversine
from geoindex.training.weights import blocks_of, open_weights


def truth(lat, lon):
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    return Truth(lat, lon, np.zeros(len(lat), np.int64), np.arange(len(lat)))


def test_the_distance_of_points_is_haversine():
    a, b = to_unit([0, 48.85, -33.87], [0, 2.35, 151.2]), to_unit([0, 51.5, 40.7], [0.001, -0.12, -74.0])
    found = haversine(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found, haversine_km(*from_unit(a), *from_unit(b)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("other", [(10.0, 20.0), (-10.0, -160.0)], ids=["the same point", "antipodes"])
def test_its_gradient_is_a_number_where_it_has_none(other):
    a = torch.from_numpy(to_unit([10.0], [20.0])).requires_grad_()
    haversine(a, torch.from_numpy(to_unit([other[0]], [other[1]]))).sum().backward()
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("head", [DegreesHead, UnitHead])
def test_a_head_starts_at_the_mean_position_whatever_it_sees(head):
    made = head(5, truth([40.0, 50.0], [10.0, 10.0]))
    lat, lon = from_unit(made(torch.randn(3, 5)).detach().numpy())
    np.testing.assert_allclose(lat, 45.0, atol=0.1)
    np.testing.assert_allclose(lon, 10.0, atol=1e-4)


def test_only_the_unit_vector_crosses_the_antimeridian():
    fiji = truth([-17.0, -17.0], [179.0, -179.0])
    lon = [from_unit(head(4, fiji)(torch.zeros(1, 4)).detach().numpy())[1][0] for head in (DegreesHead, UnitHead)]
    assert abs(lon[0]) < 1e-3
    assert abs(lon[1]) == pytest.approx(180.0, abs=1e-3)


@pytest.mark.parametrize("head", [DegreesHead, UnitHead])
def test_a_learner_of_points_learns_where_colours_come_from(head):
    torch.manual_seed(0)
    where = truth(np.where(np.arange(32) % 2, 50.0, -30.0), np.where(np.arange(32) % 2, 10.0, 140.0))
    pixels = torch.zeros(32, 3, 2, 2, dtype=torch.uint8)
    pixels[::2, 0] = 255
    flat = torch.nn.Flatten()
    learner = RegressionLearner(flat, Preprocessing(2, (0.5,) * 3, (0.5,) * 3), head(12, where))
    batch, random = Batch(pixels, where, np.arange(32), {}), np.random.default_rng(0)
    optimiser = torch.optim.Adam(learner.heads(), lr=0.02)
    first = learner(pixels.float(), batch, random).item()
    for _ in range(300):
        optimiser.zero_grad()
        learner(pixels.float(), batch, random).backward()
        optimiser.step()
    with torch.no_grad():
        found = learner.answers(pixels)
    assert first > 3.0  # thousands of km
    assert haversine_km(found[:, 0], found[:, 1], where.lat, where.lon).max() < 0.1 * EARTH_RADIUS_KM


def test_the_last_two_blocks_of_a_resnet_are_the_end_of_its_last_stage():
    module = load_encoder("timm:resnet26/random").module  # bottlenecks, as ResNet-152 has
    assert len(blocks_of(module)) == 8
    opened = open_weights(module, FineTuningRecipe(weights="last", blocks=2))
    learning = {name.rsplit(".", 2)[0] for name, p in opened.named_parameters() if p.requires_grad}
    assert {".".join(name.split(".")[:2]) for name in learning} == {"layer4.0", "layer4.1"}
