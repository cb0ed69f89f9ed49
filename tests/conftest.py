"""Fixtures that several tests share: a small world of tiles, its encoder and its index."""

import os
import shutil

# before numpy, torch and faiss are loaded: many threads make small work slow
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from tiles import KEYS, TINY_ENCODER, save_tile, world_rows, write_world

import geoindex
from geoindex.cli import main


@pytest.fixture(scope="session", autouse=True)
def plain_backend():
    """Let torch compute where no backend is named: an export of every small encoder would take longer than its test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoindex.encoder.backends.FASTEST", ())
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The metadata.csv of 96 tiles around 8 hubs; nobody writes to it."""
    return write_world(tmp_path_factory.mktemp("world"), world_rows())


@pytest.fixture(scope="session")
def tiny_encoder():
    """The encoder of every index of tiles."""
    from geoindex.encoder import load_encoder
    from geoindex.recipe import EncoderRecipe

    return load_encoder(TINY_ENCODER, EncoderRecipe(device="cpu"))


@pytest.fixture(scope="session")
def built(world, tmp_path_factory):
    """The report of an index of the world; nobody writes to it."""
    return geoindex.build_index(world, out=tmp_path_factory.mktemp("indexes") / "world", **KEYS)


@pytest.fixture(scope="session")
def index(built, tiny_encoder):
    """The index of the world, open."""
    return geoindex.open_index(built.path, encoder=tiny_encoder)


@pytest.fixture
def index_folder(built, tmp_path):
    """A copy of the index, to write to or to damage."""
    return shutil.copytree(built.path, tmp_path / "index")


@pytest.fixture
def run(capsys):
    """Run a command; return exit code, stdout, stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def photo(tmp_path):
    return save_tile(tmp_path / "photo.jpg", 52.2, 5.3)


@pytest.fixture
def bad_photo(tmp_path):
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"no photo")
    return path
