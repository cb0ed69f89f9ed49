"""Indexes whose cells keep to borders stay sound when labels are set, corrected, or come with new photos."""

from tiles import HEADER, KEYS, save_tile, world_rows, write_table, write_world

import geoindex
from geoindex.integrity import verify_index
from geoindex.store.generations import IndexFolder
from geoindex.updates.adding import add_images
from geoindex.updates.labelling import label_images


def built(folder, header):
    rows = world_rows(per_hub=6)
    write_world(folder / "src", rows)
    table = write_table(folder / "src" / "own.csv", [row[: len(header)] for row in rows], header)
    keys = {"geocells": {"within": "country"}, "split_by": "none", "training": {"method": "none"}, **KEYS}
    return geoindex.build_index(table, out=folder / "index", **keys).path


def borders(path):
    return sorted(IndexFolder(path).current().manifest.geocells["partition"]["parts"])


def labelled(path, folder, text):
    (folder / "labels.csv").write_text(f"id,country\n{text}\n")
    label_images(path, folder / "labels.csv")


def test_one_label_moves_no_photo_and_no_border(tmp_path):
    path = built(tmp_path, HEADER[:3])
    before = borders(path)
    assert len(before) >= 8
    labelled(path, tmp_path, "nl-00.jpg,Holland")
    assert verify_index(path, full=True).faults == ()
    geoindex.rebuild_index(path)
    assert borders(path) == before


def test_a_label_that_is_corrected_is_no_damage(tmp_path):
    path = built(tmp_path, HEADER)
    labelled(path, tmp_path, "nl-00.jpg,us")
    assert verify_index(path, full=True).faults == ()


def test_a_labelled_photo_comes_to_the_cells_of_its_place(tmp_path):
    path = built(tmp_path, HEADER[:3])
    before = borders(path)
    save_tile(tmp_path / "new" / "new.jpg", 12.1, 45.1)
    row = ("new.jpg", 52.1, 5.1, "NL")
    added = add_images(path, write_table(tmp_path / "new" / "t.csv", [row], ("image", "lat", "lon", "country")))
    assert added.added == 1
    assert verify_index(path, full=True).faults == ()
    geoindex.rebuild_index(path)
    assert borders(path) == before
