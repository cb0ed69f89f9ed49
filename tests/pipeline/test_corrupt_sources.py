"""A source with ten thousand images that cannot be read: they are left out and told, and the others are indexed."""

import random
from io import BytesIO

import pytest
from tiles import HUBS, PHOTOS, build, error_km, tile, world_rows, write_table, write_world

import geoindex

CORRUPT = 10_000


def corrupt(number, jpeg, png):
    """Return bytes that are no image, each in another way."""
    draw = random.Random(number)
    start = draw.choice([jpeg, png])
    kinds = (
        lambda: b"",
        lambda: draw.randbytes(draw.randrange(1, 200)),
        lambda: start[: draw.randrange(1, len(start) // 2)],
        lambda: bytes(len(start)),
        lambda: start[:20] + draw.randbytes(200),
        lambda: b"<html>404</html>",
    )
    return kinds[number % len(kinds)]()


def encoded(kind):
    buffer = BytesIO()
    tile(10.0, 10.0).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def broken_world(tmp_path_factory):
    """Good tiles among corrupt files, all with coordinates."""
    folder = tmp_path_factory.mktemp("broken")
    rows = world_rows()
    write_world(folder, rows)
    (folder / "bad").mkdir()
    jpeg, png = encoded("JPEG"), encoded("PNG")
    names = [f"bad/{number:05d}.jpg" for number in range(CORRUPT)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(corrupt(number, jpeg, png))
    bad = [(name, *HUBS["za"], "za", "nobody") for name in names]
    return write_table(folder / "metadata.csv", bad[::2] + rows + bad[1::2])


@pytest.mark.filterwarnings("error")
def test_the_good_ones_are_indexed_and_the_others_told(broken_world, tmp_path, caplog):
    report = build(broken_world, tmp_path / "index", split_by="none")
    assert report.counts["images"] == len(world_rows())
    assert report.failed == CORRUPT
    assert sum(entry["count"] for entry in report.left_out.values()) == CORRUPT
    assert len(report.left_out) < 40, "reasons are groups, not one for each image"
    assert len(report.to_text()) < 20_000
    assert len(caplog.records) < 100
    index = geoindex.open_index(report.path, device="cpu")
    assert error_km(index.query_image(PHOTOS[0]), HUBS["nl"]) < 500


def test_a_folder_of_them_says_what_it_left_out(broken_world, tmp_path):
    with pytest.raises(geoindex.GeoindexError, match=r"^[^\n]+$") as caught:
        build(broken_world.parent / "bad", tmp_path / "index")
    assert len(str(caught.value)) < 2000
