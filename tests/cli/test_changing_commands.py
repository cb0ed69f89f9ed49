"""Photos that come and go by the command line."""

import json

from tiles import save_tile, write_table


def test_add_takes_columns_as_build_does(run, index_folder, tmp_path):
    save_tile(tmp_path / "new.jpg", 12.1, 45.1)
    table = write_table(tmp_path / "t.csv", [("new.jpg", 12.1, 45.1)], ("image", "Breite", "Laenge"))
    code, out, _ = run(
        "add", index_folder, table, "--column", "lat=Breite", "--column", "lon=Laenge", "--format", "json"
    )
    assert code == 0
    assert json.loads(out)["added"] == 1


def test_a_column_without_a_meaning_is_refused(run, index_folder, tmp_path):
    table = write_table(tmp_path / "t.csv", [("new.jpg", 12.1, 45.1)], ("image", "lat", "lon"))
    code, _, err = run("add", index_folder, table, "--column", "north")
    assert code == 2
    assert "MEANING=NAME" in err
