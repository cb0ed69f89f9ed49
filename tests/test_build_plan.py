"""What a build of many images would take."""

import json

import pytest

from geoindex.assembly.sizes import Extent
from geoindex.errors import ConfigError
from geoindex.plan import Rates, reckon, size_build, time_text
from geoindex.recipe import Recipe

RATES = Rates("cpu", 2, 0.1, 0.02, {"store": 1e-4, "verify": 1e-5}, {"scan": 2.0})
EXTENT = Extent(1_000_000, 800_000, 768, 40_000_000, 20_000_000)


def sized(rates=RATES, extent=EXTENT, **given):
    return reckon(extent, Recipe(source="planted:10"), None, rates, **{"workers": 1, "cores": 2} | given)


def test_steps_that_grow_grow_and_others_do_not():
    assert sized().seconds == pytest.approx(
        {"decode": 50_000, "embed": 0.0, "store": 100.0, "verify": 10.0, "scan": 2.0}
    )


def test_more_cores_leave_the_encoder_to_be_waited_for():
    many = sized(cores=100)
    assert many.seconds["decode"] == pytest.approx(1_000)
    assert many.seconds["decode"] + many.seconds["embed"] == pytest.approx(20_000)
    assert sized(cores=100, workers=64).seconds["embed"] == 0.0


def test_what_breaks_first_is_named_first():
    found = sized()
    assert list(found.limits.values()) == sorted(found.limits.values())
    wordy = sized(extent=Extent(1_000_000, 800_000, 768, 10**12, 10**12))
    assert next(iter(wordy.limits)).startswith("the disk") or "names" in next(iter(wordy.limits))
    slow = sized(rates=Rates("cpu", 2, 1e5, 0.0, {}, {}))
    assert next(iter(slow.limits)) == "time, beyond 30 days"
    assert next(iter(slow.limits)) in slow.to_text()


def test_the_text_names_every_step_and_the_json_is_plain():
    found = sized()
    assert all(step in found.to_text() for step in found.seconds)
    assert json.loads(json.dumps(found.to_dict()))["images"] == 1_000_000


def test_the_text_tells_encoding_apart_from_decoding_and_processors_from_gpus():
    text = sized(workers=64).to_text()
    assert "13.9 h of decoding next to 5.2 min of encoding" in text
    assert "no GPU here  the 64 devices are reckoned as 64 of this processor" in text
    assert "no GPU here" not in sized(rates=Rates("cuda:0", 2, 0.1, 0.02, {}, {}), workers=64).to_text()
    assert "of decoding" not in sized(rates=Rates("process", 2, 0.0, 0.02, {}, {})).to_text()


def test_times_are_written_for_people():
    assert [time_text(s) for s in (0.5, 90, 600, 9000, 864_000)] == [
        "0.5 s",
        "90.0 s",
        "10.0 min",
        "2.5 h",
        "10.0 days",
    ]


@pytest.mark.parametrize("images", [0, -5, 0.3, float("nan"), float("inf"), 1e300])
def test_a_number_that_none_has_is_refused_at_once(images, monkeypatch):
    monkeypatch.setattr("geoindex.plan.measure_rates", None)
    with pytest.raises(ConfigError, match="give 1 to 1e"):
        size_build("planted:100?dim=8", images)


@pytest.mark.slow
def test_a_short_run_measures_every_rate():
    found = size_build("planted:2000?dim=64", 10_000_000, gpus=4)
    assert found.rates.embed_s > 0
    assert {"store", "geocells and clusters", "verify"} <= found.rates.steps_s.keys()
    assert found.seconds["store"] == pytest.approx(10_000_000 * found.rates.steps_s["store"])
