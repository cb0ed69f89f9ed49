"""Fits on a Ray cluster are the loop that runs under torchrun."""

import pytest
from tiles import world_rows, write_world

from geoindex.errors import ConfigError
from geoindex.pipeline import build_index
from geoindex.tuning import train_encoder

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]

ENCODER = "timm:vit_tiny_patch16_224/random?depth=2&img_size=64"
KEYS = {
    "encoder": ENCODER,
    "training": {"epochs": 2, "places": 8, "images": 2, "patience": 2},
    "finetuning": {"weights": "last", "blocks": 1, "lr": 1e-4},
}


@pytest.fixture
def photos(tmp_path):
    return write_world(tmp_path / "world", world_rows(per_hub=20))


def test_an_encoder_learns_on_every_node_and_an_index_takes_it(photos, tmp_path, nodes):
    report = train_encoder(photos, out=tmp_path / "tuned", executor="ray", **KEYS)
    assert [row["epoch"] for row in report.history] == [0, 1, 2]
    assert all(row["loss"] > 0 for row in report.history[1:])
    again = train_encoder(photos, out=tmp_path / "tuned", executor="ray", **KEYS)
    assert again.history == report.history  # finished: nothing is learned twice
    built = build_index(photos, out=tmp_path / "index", encoder=str(report.path), training={"method": "images"})
    assert built.counts["gallery"] > 0


def test_a_recipe_that_cannot_be_is_one_sentence_here(photos, tmp_path, nodes):
    keys = {**KEYS, "finetuning": {"weights": "last", "blocks": 9}}
    with pytest.raises(ConfigError, match="this encoder has 2 blocks"):
        train_encoder(photos, out=tmp_path / "tuned", executor="ray", **keys)
