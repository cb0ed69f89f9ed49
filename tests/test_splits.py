import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex.errors import ConfigError
from geoindex.geo import haversine_km
from geoindex.splits import SPLITS, split_samples, tile_of
from geoindex.types import Samples

RATIO = (0.8, 0.1, 0.1)


def make(count, **labels):
    rng = np.random.default_rng(5)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    ids = [f"photo-{i}" for i in range(count)]
    return Samples.from_columns({"id": ids, "lat": lat, "lon": rng.uniform(-180, 180, count), "image": ids, **labels})


def split(samples, by, ratio=RATIO, block_km=100.0, seed=0):
    return split_samples(samples, by=by, ratio=ratio, block_km=block_km, seed=seed)


def shares(parts):
    return [float(np.mean(parts == name)) for name in SPLITS]


def authors(sizes):
    return [f"author-{k}" for k, size in enumerate(sizes) for _ in range(size)]


def test_ratio_meets_the_shares():
    assert shares(split(make(20_000), "ratio")) == pytest.approx(RATIO, abs=0.01)


def test_ratio_is_stable_across_versions():
    assert split(make(8), "ratio", (0.5, 0.25, 0.25)).tolist() == [
        "test", "train", "test", "val", "train", "val", "test", "val",
    ]  # fmt: skip


def test_adding_samples_moves_no_other():
    assert (split(make(2000), "ratio")[:500] == split(make(500), "ratio")).all()


def test_another_seed_is_another_split():
    samples = make(500)
    assert (split(samples, "ratio", seed=1) != split(samples, "ratio", seed=2)).any()
    assert (split(samples, "block", seed=1) != split(samples, "block", seed=2)).any()


@pytest.mark.parametrize("ratio", [(1.0, 0.0, 0.0), (0.7, 0.0, 0.3), (0.6, 0.4, 0.0)])
@pytest.mark.parametrize("by", ["ratio", "block", "author"])
def test_a_zero_share_gets_nothing(ratio, by):
    parts = split(make(600, author=authors([3] * 200)), by, ratio)
    assert {name for name, share in zip(SPLITS, ratio, strict=True) if share} == set(parts)


def test_none_is_all_train():
    assert set(split(make(50), "none")) == {"train"}


def test_no_samples_give_no_parts():
    assert [len(split(make(0), by)) for by in ("ratio", "none", "block", "author")] == [0, 0, 0, 0]


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=40),
    seed=st.integers(0, 2**31),
    ratio=st.sampled_from([RATIO, (0.5, 0.25, 0.25), (0.34, 0.33, 0.33), (0.9, 0.05, 0.05)]),
)
def test_label_groups_stay_whole_every_part_has_one_and_order_does_not_matter(sizes, seed, ratio):
    names = authors(sizes)
    samples = make(len(names), author=names)
    parts = split(samples, "author", ratio, seed=seed)
    for name in set(names):
        assert len(set(parts[np.array(names) == name])) == 1
    assert set(parts) == set(SPLITS)
    order = np.random.default_rng(seed).permutation(len(names))
    assert (split(samples.take(order), "author", ratio, seed=seed) == parts[order]).all()


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 8), min_size=60, max_size=120), seed=st.integers(0, 99))
def test_label_shares_are_within_one_group_of_the_ratio(sizes, seed):
    names = authors(sizes)
    parts = split(make(len(names), author=names), "author", seed=seed)
    assert np.abs(np.array(shares(parts)) - RATIO).max() <= max(sizes) / len(names)


def test_a_huge_group_goes_to_the_largest_share():
    names = authors([700] + [10] * 30)
    for seed in range(5):
        parts = split(make(len(names), author=names), "author", seed=seed)
        assert parts[0] == "train"
        assert shares(parts) == pytest.approx(RATIO, abs=0.011)


def test_the_only_group_is_train_and_two_are_train_and_val():
    assert set(split(make(9, author=["a"] * 9), "author", (0.2, 0.2, 0.6))) == {"train"}
    assert set(split(make(9, author=["a"] * 5 + ["b"] * 4), "author")) == {"train", "val"}


def test_samples_without_the_label_are_groups_of_their_own():
    parts = split(make(2000, author=["a"] * 10 + [None] * 1990), "author")
    assert len(set(parts[:10])) == 1
    assert shares(parts) == pytest.approx(RATIO, abs=0.01)


def test_an_id_that_equals_a_label_is_another_group():
    samples = make(400, author=["photo-399"] * 399 + [None])
    parts = {split(samples, "author", (0.5, 0.0, 0.5), seed=s)[-1] for s in range(20)}
    assert parts == {"test"}


def test_blocks_stay_whole():
    samples = make(3000)
    parts = split(samples, "block", block_km=1500.0)
    tiles = tile_of(samples.lat, samples.lon, 1500.0)
    assert all(len(set(parts[tiles == tile])) == 1 for tile in np.unique(tiles))
    assert shares(parts) == pytest.approx(RATIO, abs=0.03)


def test_tiles_have_nearly_equal_areas_everywhere():
    rng = np.random.default_rng(1)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, 400_000))), rng.uniform(-180, 180, 400_000)
    _, counts = np.unique(tile_of(lat, lon, 1000.0), return_counts=True)
    assert len(counts) == pytest.approx(510, rel=0.02)  # area of the Earth over that of a tile
    assert counts.min() > 0.6 * counts.mean()
    assert counts.max() < 1.4 * counts.mean()


@settings(deadline=None)
@given(lat=st.floats(-90, 90), lon=st.floats(-180, 180), side_km=st.floats(1.0, 50_000.0), nudge=st.floats(0, 1))
def test_a_tile_closes_at_the_antimeridian_and_is_no_wider_than_it_says(lat, lon, side_km, nudge):
    assert tile_of([lat], [180.0], side_km) == tile_of([lat], [-180.0], side_km)
    other_lat, other_lon = np.clip(lat + nudge, -90, 90), np.clip(lon + nudge, -180, 180)
    if side_km < 2000 and tile_of([lat], [lon], side_km) == tile_of([other_lat], [other_lon], side_km):
        assert haversine_km(lat, lon, other_lat, other_lon) < 4 * side_km


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "colour"}, "choose one of ratio, none, block, country"),
        ({"by": "city"}, "no sample has it; choose one of ratio, none, block, author"),
        ({"by": "ratio", "ratio": (0.8, 0.1, 0.2)}, "sum to 1"),
        ({"by": "ratio", "ratio": (1.2, -0.1, -0.1)}, "none negative"),
        ({"by": "block", "block_km": 0.0}, "must be positive"),
        ({"by": "block", "block_km": float("nan")}, "must be positive"),
    ],
)
def test_bad_options_say_what_exists(options, words):
    with pytest.raises(ConfigError, match=words):
        split(make(5, author=list("abcde")), **options)
