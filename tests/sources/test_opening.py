import sys
from types import ModuleType

import pytest
from tiles import world_rows, write_world

import geoindex.sources
from geoindex.errors import ConfigError, DatasetNotFoundError
from geoindex.sources import open_source
from geoindex.sources.osv5m import Osv5m
from geoindex.sources.photos import PhotosSource
from geoindex.sources.table import TableSource


@pytest.fixture
def stand_ins(monkeypatch):
    """Replace the made-up sources by ones that only keep their arguments."""
    for module, name in (("synthetic", "SyntheticEarth"), ("planted", "PlantedEmbeddings")):
        stand_in = ModuleType(module)
        setattr(stand_in, name, lambda count, _name=name, **options: (_name, count, options))
        monkeypatch.setitem(sys.modules, f"geoindex.sources.{module}", stand_in)


def test_folders_and_tables(tmp_path):
    table = tmp_path / "t.csv"
    table.touch()
    for uri in (f"photos:{tmp_path}", str(tmp_path), tmp_path, f"PHOTOS:{tmp_path}"):
        assert open_source(uri) == PhotosSource(tmp_path)
    for uri in (f"table:{table}", str(table), table):
        assert open_source(uri, columns={"lat": "north"}) == TableSource(table, {"lat": "north"})
    assert open_source(f"osv5m:{tmp_path}") == Osv5m(tmp_path, "train")
    assert open_source(f"osv5m:{tmp_path}?split=test") == Osv5m(tmp_path, "test")


def test_the_uri_of_a_source_opens_it_again(tmp_path, monkeypatch):
    (tmp_path / "t.csv").touch()
    monkeypatch.chdir(tmp_path)
    for uri in ("photos:.", "t.csv", "osv5m:.?split=test"):
        again = open_source(uri).uri
        monkeypatch.chdir("/")
        assert open_source(again).uri == again
        monkeypatch.chdir(tmp_path)


def test_a_path_that_looks_like_a_uri_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trip: 2020?x").mkdir()
    assert open_source("trip: 2020?x") == PhotosSource(tmp_path / "trip: 2020?x")
    with pytest.raises(DatasetNotFoundError, match="no folder or table 'C:"):
        open_source("C:\\photos")


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("synthetic:100", ("SyntheticEarth", 100, {"seed": 0})),
        ("synthetic:100?seed=7", ("SyntheticEarth", 100, {"seed": 7})),
        ("planted:100_000?dim=64&seed=3", ("PlantedEmbeddings", 100_000, {"dim": 64, "seed": 3})),
        (
            "planted:9?noise=0.5&ambiguous=0.1&positions=a/b.csv",
            ("PlantedEmbeddings", 9, {"seed": 0, "noise": 0.5, "ambiguous": 0.1, "positions": "a/b.csv"}),
        ),
    ],
)
@pytest.mark.usefixtures("stand_ins")
def test_made_up_sources(uri, opened):
    assert open_source(uri) == opened


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("http://example.org/a.csv", DatasetNotFoundError, "photos:DIR, table:PATH, osv5m:ROOT"),
        ("nowhere", DatasetNotFoundError, "photos:DIR, table:PATH, osv5m:ROOT"),
        ("", DatasetNotFoundError, "check the path"),
        ("photos:nowhere", DatasetNotFoundError, "no folder 'nowhere'"),
        ("photos:", DatasetNotFoundError, "photos:DIR"),
        ("table:nowhere.csv", DatasetNotFoundError, "no table 'nowhere.csv'"),
        ("osv5m:nowhere", DatasetNotFoundError, "no folder 'nowhere'"),
        ("osv5m:/?splits=test", ConfigError, "'splits'.*choose among split"),
        ("osv5m:/?split=val", ConfigError, "choose one of train, test"),
        ("synthetic:many", ConfigError, "positive number .* not 'many'"),
        ("synthetic:0", ConfigError, "positive number"),
        ("synthetic:_", ConfigError, "positive number"),
        ("synthetic:5?seed=x", ConfigError, "seed='x'.* must be a number"),
        ("synthetic:5?dim=3", ConfigError, "'dim'.*choose among seed"),
        ("planted:5?sed=3", ConfigError, "choose among dim, seed, positions, noise, ambiguous"),
    ],
)
@pytest.mark.usefixtures("stand_ins")
def test_what_cannot_be_opened_lists_the_choices(uri, error, words):
    with pytest.raises(error, match=words):
        open_source(uri)


def test_files_of_another_kind(tmp_path):
    (tmp_path / "t.xlsx").touch()
    for uri in (tmp_path / "t.xlsx", f"table:{tmp_path / 't.xlsx'}"):
        with pytest.raises(DatasetNotFoundError, match=r"would end in \.csv, \.tsv, \.parquet, \.jsonl"):
            open_source(uri)


@pytest.mark.usefixtures("stand_ins")
def test_columns_are_for_tables(tmp_path):
    for uri in (f"photos:{tmp_path}", f"osv5m:{tmp_path}", "synthetic:5", "planted:5"):
        with pytest.raises(ConfigError, match="table only"):
            open_source(uri, columns={"lat": "a"})
        open_source(uri, columns={})


def test_the_package_hands_out_its_names_and_no_others():
    assert {name for name in geoindex.sources.__all__ if hasattr(geoindex.sources, name)} == {
        "LeftOut", "Scan", "Source", "open_source",
    }  # fmt: skip
    assert not hasattr(geoindex.sources, "close_source")


def test_a_relative_path_is_found_from_another_folder(tmp_path, monkeypatch):
    """As by workers, which run elsewhere."""
    write_world(tmp_path / "world", world_rows(per_hub=2))
    monkeypatch.chdir(tmp_path)
    sources = [open_source("world/metadata.csv"), open_source("world"), open_source("table:world/metadata.csv")]
    image = sources[0].scan().samples.images[0]
    monkeypatch.chdir(tmp_path.parent)
    for source in sources:
        assert source.file_of(image).is_file()
