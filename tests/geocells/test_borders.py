"""Cells that keep to the borders of a label."""

import numpy as np
import pytest
from earths import LABELS, columns, labelled, some_labels, towns, uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from geoindex import geo
from geoindex.errors import ConfigError
from geoindex.geocells.borders import border_labels, checked_label, labels_among
from geoindex.geocells.fitting import fit_partition
from geoindex.geocells.partition import BorderedPartition, VoronoiPartition
from geoindex.recipe import GeocellRecipe
from geoindex.types import LABELS as ALL_LABELS

METHODS = ("optics", "quadtree", "balanced")
crowds = st.lists(labelled, min_size=1, max_size=30)


def fitted(method, lat, lon, labels):
    recipe = GeocellRecipe(method=method, within="country", min_samples=(2,), xi=(0.1,), max_cells=9)
    return fit_partition(lat, lon, recipe, 0, labels).partition


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(rows=crowds, others=crowds)
def test_no_position_crosses_a_border(method, rows, others):
    rows = [*rows, (1.0, 2.0, "A")]
    partition = fitted(method, *columns(rows), [row[2] for row in rows])
    assert set(partition.labels) == {label for _, _, label in rows if label}
    lat, lon = columns(others)
    cell = partition.assign(lat, lon, [row[2] for row in others])
    km = geo.haversine_km(lat[:, None], lon[:, None], partition.site_lat, partition.site_lon)
    for position, (_, _, label) in enumerate(others):
        if label in partition.labels:
            assert partition.label_of_cell[cell[position]] == label
        else:  # unknown, or a label that nobody had
            assert km[position, cell[position]] == pytest.approx(km[position].min(), abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_without_labels_everybody_goes_to_the_nearest_site_of_all(method):
    lat, lon = towns(300)
    partition = fitted(method, lat, lon, some_labels(300))
    elsewhere = uniform(300)
    km = geo.haversine_km(*(axis[:, None] for axis in elsewhere), partition.site_lat, partition.site_lon)
    nearest = km.argmin(axis=1).tolist()
    assert partition.assign(*elsewhere).tolist() == nearest
    assert partition.assign(*elsewhere, [None] * 300).tolist() == nearest
    assert partition.assign(*elsewhere, ["Atlantis"] * 300).tolist() == nearest
    own = partition.assign(*elsewhere, ["B"] * 300)
    assert set(partition.label_of_cell[own]) == {"B"}
    assert own.tolist() != nearest


def test_cells_are_counted_through_the_parts():
    parts = tuple(VoronoiPartition(np.array([lat, lat + 1.0]), np.zeros(2)) for lat in (0.0, 10.0))
    partition = BorderedPartition(("A", "B"), parts, "country")
    assert partition.assign([0.1, 0.9, 0.1, 0.9], [0.0] * 4, ["A", "A", "B", "B"]).tolist() == [0, 1, 2, 2]
    assert partition.label_of_cell.tolist() == ["A", "A", "B", "B"]
    assert partition.site_lat.tolist() == [0.0, 1.0, 10.0, 11.0]


def test_a_label_whose_cells_are_gone_is_unknown():
    lat, lon = towns(300)
    partition = fitted("balanced", lat, lon, some_labels(300))
    kept = np.flatnonzero(partition.label_of_cell != "B")
    fewer = partition.keep(kept)
    assert fewer.labels == ("A", "C")
    km = geo.haversine_km(lat[:, None], lon[:, None], fewer.site_lat, fewer.site_lon)
    assert fewer.assign(lat, lon, ["B"] * 300).tolist() == km.argmin(axis=1).tolist()
    assert partition.keep(np.flatnonzero(partition.label_of_cell == "B")).labels == ("B",)


def test_two_countries_may_share_a_place():
    lat, lon = [42.5] * 4, [1.5] * 4
    partition = fitted("optics", lat, lon, ["A", "A", "B", "B"])
    assert partition.assign(lat, lon, ["B", "A", "B", "A"]).tolist() == [1, 0, 1, 0]
    area = partition.regions().area_km2
    assert sorted(area) == pytest.approx([0.0, geo.EARTH_AREA_KM2])


def test_regions_cover_the_earth():
    area = fitted("quadtree", *towns(200), some_labels(200)).regions().area_km2
    assert area.sum() == pytest.approx(geo.EARTH_AREA_KM2, rel=1e-6)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_labels_must_be_one_a_position(count):
    partition = fitted("optics", *towns(9), [*LABELS] * 3)
    with pytest.raises(ConfigError, match=f"{count} labels do not match 3 positions"):
        partition.assign([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], ["A"] * count)


class TestLabels:
    """Which label a position has."""

    PARIS_AND_LYON = np.array([48.85, 45.76]), np.array([2.35, 4.84])

    def test_labels_of_the_source_are_taken_as_they_are(self):
        assert border_labels("country", ["FR", None], *self.PARIS_AND_LYON) == ["FR", None]
        assert border_labels("author", [None, "me"], *self.PARIS_AND_LYON) == [None, "me"]

    @pytest.mark.parametrize("nothing", [[None, None], ["", ""], [None, ""]])
    def test_without_any_the_nearest_named_place_tells(self, nothing):
        assert border_labels("country", nothing, *self.PARIS_AND_LYON) == ["France", "France"]
        assert border_labels("city", nothing, *self.PARIS_AND_LYON)[0] == "Paris"
        assert "Auvergne" in border_labels("region", nothing, *self.PARIS_AND_LYON)[1]

    def test_a_label_of_a_few_does_not_stand_for_all(self):
        lat, lon = np.append(self.PARIS_AND_LYON[0], 52.37), np.append(self.PARIS_AND_LYON[1], 4.9)
        assert border_labels("country", ["FR", None, None], lat, lon) == ["France", "France", "Netherlands"]
        assert border_labels("country", ["FR", "FR", None], lat, lon) == ["FR", "FR", None]
        assert border_labels("author", ["me", None, None], lat, lon) == ["me", None, None]

    def test_what_is_added_is_labelled_as_the_cells_are(self):
        def among(kept, known):
            return labels_among(kept, "country", known, *self.PARIS_AND_LYON)

        assert among({"FR", "NL"}, ["FR", "NL"]) == ["FR", "NL"]
        assert among({"France"}, ["FR", None]) == ["France", "France"]
        assert among({"FR"}, [None, "FR"])[1] == "FR"
        assert labels_among({"me"}, "author", [None, "me"], *self.PARIS_AND_LYON) == [None, "me"]

    @pytest.mark.parametrize("within", ["author", "sequence", "sub_region", "captured_at", "climate"])
    def test_what_no_place_can_tell_is_refused_with_what_it_can(self, within):
        with pytest.raises(ConfigError, match=f"within '{within}' need that label.*take one of country, region, city"):
            border_labels(within, [None, None], *self.PARIS_AND_LYON)

    def test_a_label_that_does_not_exist_is_refused_with_those_that_do(self):
        with pytest.raises(ConfigError, match="cannot be kept within 'planet'; choose one of country, region"):
            checked_label("planet")
        assert [checked_label(name) for name in ALL_LABELS] == list(ALL_LABELS)
