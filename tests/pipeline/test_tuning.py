"""An encoder that is trained alone: its folder, its room, and what was left out."""

import pytest
from tiles import KEYS, world_rows, write_world

from geoindex.assembly import sizes
from geoindex.errors import IndexLockedError, StorageError
from geoindex.store import space
from geoindex.store.lock import locked
from geoindex.training.processes import leads
from geoindex.tuning import train_encoder

TUNE = {
    **KEYS,
    "split_by": "none",
    "training": {"epochs": 1, "places": 4, "images": 2},
    "finetuning": {"weights": "all", "workers": 0},
}


def test_a_second_run_in_one_folder_is_refused(tmp_path):
    table = write_world(tmp_path / "world", world_rows(per_hub=4))
    with locked(tmp_path / "fit"), pytest.raises(IndexLockedError, match="Another process is writing to"):
        train_encoder(table, out=tmp_path / "fit", **TUNE)
    assert [path.name for path in (tmp_path / "fit").iterdir()] == [".lock"]
    assert train_encoder(table, out=tmp_path / "fit", **TUNE).best_epoch == 1


def test_of_the_processes_of_torchrun_the_first_one_holds_the_folder(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("RANK", "3")  # of something else
    assert leads()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not leads()
    monkeypatch.setenv("RANK", "0")
    assert leads()


def test_a_run_that_does_not_fit_on_the_disk_does_not_start(tmp_path, monkeypatch):
    table = write_world(tmp_path / "world", world_rows(per_hub=4))
    monkeypatch.setattr(space, "free_bytes", lambda _: 32 * 3 * 16 * 16)  # the prepared images, and nothing else
    with pytest.raises(StorageError, match=r"has .* free, and .* are needed; free some space, or name a folder"):
        train_encoder(table, out=tmp_path / "fit", **TUNE)
    assert not (tmp_path / "fit").exists()


def test_what_a_stopped_run_left_counts_by_its_room_on_the_disk(tmp_path):
    with (tmp_path / "pixels.npy").open("wb") as file:
        file.truncate(2**30)
    assert sizes._left_bytes(tmp_path) < 2**20
    (tmp_path / "start.npz").write_bytes(bytes(3 * 2**20))
    assert sizes._left_bytes(tmp_path) >= 3 * 2**20
