"""Lance tags versions of tables whose paths it would percent-encode."""

import pytest

from geoindex.store.alias import plain_path
from geoindex.store.schemas import cell_schema
from geoindex.store.tables import LanceTables


@pytest.mark.parametrize("name", ["plain", "with space", "größe", "北京", "a%20b", "a#b", "a~b", "[x]"])
def test_a_tag_makes_no_folder_of_another_name(tmp_path, name):
    tables = LanceTables(tmp_path / name / "tables")
    version = tables.write("cells", cell_schema(4), [])
    tables.tag("cells", version, "gen-000001")
    assert set(tables._connect().open_table("cells").tags.list()) == {"gen-000001"}
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_link_leads_to_the_folder_and_goes(tmp_path):
    folder = tmp_path / "ü"
    folder.mkdir()
    with plain_path(folder) as link:
        (link / "a").write_bytes(b"x")
        assert str(link).isascii()
    assert (folder / "a").read_bytes() == b"x"
    assert not link.parent.exists()
    with plain_path(tmp_path) as same:
        assert same == tmp_path
