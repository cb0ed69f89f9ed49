"""The configuration beside the weights of an encoder, with values that are not valid."""

import json

import pytest

from geoindex.encoder import load_encoder
from geoindex.errors import EncoderError

VALUES = [None, True, -1, float("inf"), "x", "", [], {}, [1], {"a": 1}, 0.5]
PARTS = [
    ("architecture",), ("architecture", "library"), ("architecture", "model"), ("architecture", "options"),
    ("preprocessing",), ("preprocessing", "size"), ("preprocessing", "mean"), ("preprocessing", "std", 1),
    ("preprocessing", "crop_pct"), ("preprocessing", "fill"), ("format",), ("fingerprint",),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny_encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "saved"
    tiny_encoder.save(path)
    return path


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "-".join(map(str, part)))
def test_it_loads_as_it_was_or_says_what_is_wrong(folder, tiny_encoder, part):
    file = folder / "config.json"
    before = file.read_text()
    try:
        for value in VALUES:
            config = json.loads(before)
            inner = config
            for key in part[:-1]:
                inner = inner[key]
            inner[part[-1]] = value
            file.write_text(json.dumps(config))
            try:
                assert load_encoder(str(folder)).fingerprint == tiny_encoder.fingerprint
            except EncoderError as error:
                said = str(error)
            else:
                continue
            assert len(said.splitlines()) == 1, said
    finally:
        file.write_text(before)


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "", "[]", '"x"'])
def test_what_is_no_configuration_at_all(folder, text):
    file = folder / "config.json"
    before = file.read_text()
    file.write_text(text)
    try:
        with pytest.raises(EncoderError, match=r"^[^\n]+\.$"):
            load_encoder(str(folder))
    finally:
        file.write_text(before)
