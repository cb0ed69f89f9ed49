import numpy as np
import pytest

from geoindex import nearest_place
from geoindex.errors import CoordinateError
from geoindex.nearest_place import place_name
from geoindex.places import place_names

EDGES = [(90.0, 0.0), (-90.0, 12.0), (0.0, 180.0), (0.0, -180.0), (-17.8, 179.9), (-17.8, -179.9), (64.1, -21.9)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOINDEX_CACHE", str(tmp_path / "cache"))
    nearest_place._table.cache_clear()
    yield tmp_path / "cache"
    nearest_place._table.cache_clear()


def test_names_are_those_of_the_whole_table(cache):
    rng = np.random.default_rng(0)
    sea, land = np.stack([rng.uniform(-90, 90, 300), rng.uniform(-180, 180, 300)], 1), rng.normal((48, 9), 5, (300, 2))
    points = [*map(tuple, sea), *map(tuple, land), *EDGES]
    assert [place_name(*point) for point in points] == place_names(*zip(*points, strict=True))


def test_the_table_is_read_once_for_all_processes(cache, monkeypatch):
    assert place_name(48.5782, 13.4701) == "Passau, Bavaria, Germany"
    (kept,) = cache.iterdir()
    nearest_place._table.cache_clear()
    monkeypatch.setattr(nearest_place, "named_places", None)
    assert place_name(48.5782, 13.4701) == "Passau, Bavaria, Germany"
    assert kept.name.startswith("places-")


def test_a_damaged_table_is_made_again(cache):
    place_name(0.0, 0.0)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"nothing")
    nearest_place._table.cache_clear()
    assert place_name(48.5782, 13.4701) == "Passau, Bavaria, Germany"
    assert kept.stat().st_size > 10**6


def test_without_a_cache_names_are_the_same(tmp_path, cache):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert place_name(48.5782, 13.4701) == "Passau, Bavaria, Germany"


def test_a_position_that_is_not_on_earth_is_refused(cache):
    with pytest.raises(CoordinateError):
        place_name(91.0, 0.0)
