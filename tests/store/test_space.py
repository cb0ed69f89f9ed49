import shutil

import pytest

from geoindex.errors import StorageError
from geoindex.store import space
from geoindex.store.space import free_bytes, require_space, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12.3 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"),
     (4_200_000_000, "4.2 GB"), (7e15, "7,000.0 TB")],
)  # fmt: skip
def test_sizes_for_people(count, text):
    assert size_text(count) == text


def test_what_is_not_there_yet_has_the_room_of_the_disk_where_it_will_be(tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(path)
        return shutil._ntuple_diskusage(10_000, 5_000, 5_000)

    monkeypatch.setattr(space.shutil, "disk_usage", usage)
    path = tmp_path / "not" / "there"
    assert free_bytes(path) == 5_000
    assert asked == [tmp_path]
    require_space(path, 5_000)
    with pytest.raises(StorageError, match=r"'.*not/there' has 5\.0 kB free, and 6\.0 kB are needed; go away\."):
        require_space(path, 6_000, "go away")
