import pickle

import numpy as np
import pytest

from geoindex.errors import ConfigError, UnreadableImageError
from geoindex.geo import haversine_km, valid_positions
from geoindex.places import nearest_places
from geoindex.sources.planted import JITTER_KM, SCALES_KM, SHARES, PlantedEmbeddings
from geoindex.sources.source import EmbeddedSource
from geoindex.types import Samples


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def median_error_km(source, queries=300):
    samples = source.scan().samples
    features = unit(source.features(samples))
    best = queries + (features[:queries] @ features[queries:].T).argmax(axis=1)
    lat, lon = samples.lat, samples.lon
    return float(np.median(haversine_km(lat[:queries], lon[:queries], lat[best], lon[best])))


def test_is_an_embedded_source_that_can_be_pickled():
    source = PlantedEmbeddings(10, seed=3, dim=8)
    assert isinstance(source, EmbeddedSource)
    again = pickle.loads(pickle.dumps(source))
    samples = source.scan().samples
    np.testing.assert_array_equal(again.features(samples), source.features(samples))


def test_scan_gives_populated_places():
    scan = PlantedEmbeddings(3000).scan()
    samples = scan.samples
    assert len(samples) == len(set(samples.ids)) == len(set(samples.images)) == 3000
    assert valid_positions(samples.lat, samples.lon).all()
    assert scan.left_out.total == 0
    assert nearest_places(samples.lat, samples.lon)[1].max() <= JITTER_KM + 1e-6
    assert all(samples.label("country"))


def test_a_sample_does_not_depend_on_the_count():
    few, many = PlantedEmbeddings(700, ambiguous=0.3, dim=16), PlantedEmbeddings(2500, ambiguous=0.3, dim=16)
    samples, more = few.scan().samples, many.scan().samples
    assert samples.table.equals(more.table.slice(0, 700))
    np.testing.assert_array_equal(few.features(samples), many.features(more)[:700])
    assert few.fingerprint == many.fingerprint


def test_any_order_and_subset_gives_the_same_features():
    source = PlantedEmbeddings(3000, ambiguous=0.2, dim=16)
    samples = source.scan().samples
    rows = np.random.default_rng(0).permutation(3000)[:900]
    np.testing.assert_allclose(source.features(samples.take(rows)), source.features(samples)[rows], atol=1e-5)
    assert source.features(samples.take(rows[:0])).shape == (0, 16)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"dim": 17}, {"noise": 0.5}, {"ambiguous": 0.1}, {"positions": "a.csv"}]
)
def test_fingerprint_tells_parameters_apart(other):
    assert PlantedEmbeddings(5, **other).fingerprint != PlantedEmbeddings(5).fingerprint


def test_similarity_follows_its_formula():
    source = PlantedEmbeddings(1, dim=20_000, noise=0.0)
    lon = np.array([0.0, 0.1, 1.0, 5.0, 15.0, 40.0, 90.0, 180.0])
    images = [f"planted/0/{i}" for i in range(len(lon))]
    samples = Samples.from_columns({"id": images, "lat": np.zeros(8), "lon": lon, "image": images})
    features = source.features(samples)
    chord_km = 2 * 6371.0088 * np.sin(np.radians(lon) / 2)
    expected = np.exp(-(chord_km[:, None] ** 2) / (2 * np.array(SCALES_KM) ** 2)) @ SHARES
    np.testing.assert_allclose(features @ features[0], expected, atol=0.03)


def test_near_pairs_are_more_similar_on_average():
    source = PlantedEmbeddings(1500, noise=1.0)
    samples = source.scan().samples
    features = unit(source.features(samples))
    upper = np.triu_indices(1500, 1)
    distance_km = haversine_km(samples.lat[:, None], samples.lon[:, None], samples.lat, samples.lon)[upper]
    group = np.digitize(distance_km, [60, 200, 1000, 3000, 8000])
    means = [(features @ features.T)[upper][group == g].mean() for g in range(6)]
    assert np.all(np.diff(means) < -0.01)


def test_noise_has_the_norm_of_the_signal():
    noisy, clean = PlantedEmbeddings(2000, noise=1.0), PlantedEmbeddings(2000, noise=0.0)
    samples = noisy.scan().samples
    signal = clean.features(samples)
    noise = noisy.features(samples) - signal
    assert np.linalg.norm(signal, axis=1).mean() == pytest.approx(1.0, abs=0.02)
    assert np.linalg.norm(noise, axis=1).mean() == pytest.approx(1.0, abs=0.02)


def test_less_noise_less_error():
    errors = [median_error_km(PlantedEmbeddings(4000, dim=128, noise=noise)) for noise in (0.3, 1.5, 3.0)]
    assert errors[0] * 1.5 < errors[1]
    assert errors[1] * 1.5 < errors[2]


def test_ambiguous_samples_resemble_two_places():
    mixed, clean = (PlantedEmbeddings(4000, dim=512, noise=0.0, ambiguous=a) for a in (0.25, 0.0))
    samples = mixed.scan().samples
    same = (unit(mixed.features(samples)) * unit(clean.features(samples))).sum(axis=1)
    changed = same < 0.999
    assert changed.mean() == pytest.approx(0.25, abs=0.03)
    assert same[changed].mean() == pytest.approx(0.5**0.5, abs=0.05)


def test_positions_of_a_table_are_used_once_and_then_jittered(tmp_path):
    table = tmp_path / "positions.csv"
    lat, lon = np.linspace(-60, 60, 40), np.linspace(-170, 170, 40)
    rows = "".join(f"{i}.jpg,{a!r},{b!r}\n" for i, (a, b) in enumerate(zip(lat.tolist(), lon.tolist(), strict=True)))
    table.write_text("file,lat,lon\n" + rows)
    samples = PlantedEmbeddings(100, positions=table).scan().samples
    np.testing.assert_allclose(np.sort(samples.lat[:40]), lat, atol=1e-9)
    off_km = haversine_km(samples.lat[:, None], samples.lon[:, None], lat, lon).min(axis=1)
    assert off_km[:40].max() < 1e-6
    assert off_km[40:].min() > 0.0
    assert off_km[40:].max() <= JITTER_KM + 1e-6
    assert (
        len(PlantedEmbeddings(7, positions=str(table), ambiguous=1.0, dim=4).features(samples.take(np.arange(7)))) == 7
    )


def test_uri_opens_the_same_source():
    from geoindex.sources import open_source

    source = PlantedEmbeddings(12, seed=4, dim=32, noise=0.7, ambiguous=0.1)
    assert open_source(source.uri) == source


def test_there_are_no_pixels():
    with pytest.raises(UnreadableImageError, match="no pixels"):
        PlantedEmbeddings(1).read("planted/0/0")


def test_samples_of_another_source_are_refused():
    with pytest.raises(UnreadableImageError, match="not a planted sample of seed 0"):
        PlantedEmbeddings(5).features(PlantedEmbeddings(5, seed=1).scan().samples)


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"seed": -1}, {"dim": 0}, {"noise": -0.1}, {"noise": float("nan")}, {"ambiguous": 1.1}]
)
def test_options_that_cannot_be_meant(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PlantedEmbeddings(**({"count": 5} | wrong))
