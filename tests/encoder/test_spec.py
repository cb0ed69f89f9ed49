import pytest

from geoindex.encoder.spec import EncoderSpec, parse_spec
from geoindex.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("open_clip:ViT-B-32/laion2b", EncoderSpec("open_clip", "ViT-B-32", "laion2b")),
        ("timm:vit_base.augreg_in21k", EncoderSpec("timm", "vit_base.augreg_in21k")),
        ("timm:vit/random?seed=7", EncoderSpec("timm", "vit", "random", {}, 7)),
        ("hf-hub:geolocal/StreetCLIP", EncoderSpec("hf-hub", "geolocal/StreetCLIP")),
        ("hf-hub:me/a.b-c@refs/pr/1", EncoderSpec("hf-hub", "me/a.b-c", "refs/pr/1")),
        (
            "timm:vit/random?depth=4&drop=0.5&flag=true&act=gelu",
            EncoderSpec("timm", "vit", "random", {"depth": 4, "drop": 0.5, "flag": True, "act": "gelu"}),
        ),
    ],
)
def test_names_are_taken_apart(text, want):
    assert parse_spec(text) == want


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("no/such/folder", "open_clip:MODEL/PRETRAINED, timm:MODEL, hf-hub:OWNER/NAME, or a folder"),
        ("clip:ViT", "open_clip:MODEL/PRETRAINED, timm:MODEL, hf-hub:OWNER/NAME, or a folder"),
        ("timm:", "names no model"),
        ("open_clip:ViT-B-32/", "no weights"),
        ("timm:vit/in21k", "after a dot"),
        ("timm:vit/random?depth", "options"),
        ("timm:vit?seed=3", "untrained"),
        ("hf-hub:StreetCLIP", "hf-hub:OWNER/NAME"),
        ("hf-hub:a/b/c", "hf-hub:OWNER/NAME"),
        ("hf-hub:../a", "hf-hub:OWNER/NAME"),
        ("hf-hub:/tmp/a", "hf-hub:OWNER/NAME"),
        ("hf-hub:a/b?depth=3", "no options"),
        ("timm:vit/random?seed=-1", "whole number"),
        ("timm:vit/random?seed=true", "whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, say):
    with pytest.raises(ConfigError, match=say) as caught:
        parse_spec(text)
    assert text in str(caught.value)
