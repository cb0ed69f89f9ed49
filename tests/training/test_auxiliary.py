import math

import numpy as np
import pytest
import torch

from geoindex.errors import ConfigError
from geoindex.training.auxiliary import AuxiliaryHeads, encode_labels, label_of


def test_labels_become_classes_and_unknown_ones_minus_one():
    classes, count = encode_labels("climate", ["cold", None, "arid", "cold", ""])
    assert classes.tolist() == [1, -1, 0, 1, -1]
    assert count == 2


def test_months_are_taken_from_dates():
    assert label_of("month") == "captured_at"
    classes, count = encode_labels("month", ["2023-03-05", "2021-11-30", "1618924234", None, "2020-03-01"])
    assert classes.tolist() == [0, 1, -1, -1, 0]
    assert count == 2


def test_a_label_that_nobody_has_is_refused():
    with pytest.raises(ConfigError, match="land_cover"):
        encode_labels("land_cover", [None, ""])


def test_only_images_with_the_label_give_a_loss():
    heads = AuxiliaryHeads(4, {"climate": 3})
    torch.nn.init.zeros_(heads.heads["climate"].weight)
    torch.nn.init.zeros_(heads.heads["climate"].bias)
    (losses,) = heads(torch.randn(5, 4), {"climate": np.array([0, -1, 2, -1, 1])})
    assert losses.tolist() == pytest.approx([math.log(3)] * 3)
