"""Which encoder serves where nobody names one."""

import logging

from geoindex.encoder.encoder import Encoder
from geoindex.encoder.loading import load_encoder
from geoindex.encoder.spec import UNTRAINED
from geoindex.errors import WeightsNotFoundError
from geoindex.recipe import EncoderRecipe

log = logging.getLogger(__name__)

AUTO = "auto"
PRETRAINED = "open_clip:ViT-B-32/laion2b_s34b_b79k"


def choose_encoder(spec: str, recipe: EncoderRecipe, weights: str = "") -> Encoder:
    """Load the encoder of this name; for auto the pretrained one, or the untrained one where it cannot be had.

    Raises:
        EncoderError: if a named encoder cannot be loaded.
    """
    if spec != AUTO or weights:
        return load_encoder(PRETRAINED if spec == AUTO else spec, recipe, weights=weights)
    try:
        return load_encoder(PRETRAINED, recipe)
    except WeightsNotFoundError as error:
        log.warning(
            "%s Going on with an untrained encoder, which sees little more than colours: expect weak answers, "
            "and name a pretrained one with --encoder and --weights.",
            error,
        )
        return load_encoder(UNTRAINED, recipe)
