"""An encoder that is trained alone: its folder, its room, and what was left out."""

import pytest
from tiles import KEYS, world_rows, write_world

from geoindex.errors import IndexLockedError
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
