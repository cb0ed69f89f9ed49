"""Where a copy of an index may not go: an archive to a URL, and anything into the index itself."""

from pathlib import Path

import pytest

from geoindex.errors import ConfigError, StorageError
from geoindex.transfer import clone_index, export_index, import_index


@pytest.mark.parametrize("archive", ["s3://bucket/index.tar", Path("s3://bucket/index.tar")])
def test_an_archive_at_a_url_is_refused(index_folder, tmp_path, monkeypatch, archive):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="archives are files; use 'geoindex clone' for URLs"):
        export_index(index_folder, archive)
    with pytest.raises(ConfigError, match="archives are files"):
        import_index(archive, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_command_that_exports_to_a_url_says_what_to_use(index_folder, run):
    code, out, err = run("export", index_folder, "s3://bucket/index.tar")
    assert (code, out) == (2, "")
    assert "use 'geoindex clone' for URLs" in err


@pytest.mark.parametrize("below", ["copy", "generations/copy", "../index/copy"])
@pytest.mark.parametrize("copy", [clone_index, export_index])
def test_a_copy_inside_of_the_index_is_refused(index_folder, copy, below):
    before = sorted(index_folder.rglob("*"))
    with pytest.raises(ConfigError, match="lies inside the index"):
        copy(index_folder, index_folder / below)
    assert sorted(index_folder.rglob("*")) == before


def test_the_index_itself_is_no_place_for_its_copy(index_folder):
    with pytest.raises((ConfigError, StorageError)):
        clone_index(index_folder, index_folder)
