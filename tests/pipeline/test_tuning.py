"""An encoder that is trained alone: its folder, its room, and what was left out."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tiles import KEYS, stored, world_rows, write_table, write_world

import geoindex
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
    report = train_encoder(table, out=tmp_path / "fit", **TUNE)
    assert report.best_epoch == 1
    assert "geoindex build RECIPE --encoder" in report.to_text()
    assert "the encoder is as it was" in replace(report, best_epoch=0).to_text()


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


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_photo_that_is_replaced_while_a_build_is_stopped_is_indexed_as_it_is_now(tmp_path, monkeypatch):
    rows = world_rows(per_hub=4)
    table, path, name = write_world(tmp_path / "world", rows), tmp_path / "index", rows[3][0]
    keys = {**TUNE, "training": {**TUNE["training"], "method": "images"}}
    with monkeypatch.context() as patch:
        patch.setattr("geoindex.pipeline.assemble", interrupted)
        with pytest.raises(KeyboardInterrupt):
            geoindex.build_index(table, out=path, **keys)
    photo = tmp_path / "world" / name
    Image.new("RGB", (24, 24), (255, 0, 255)).save(photo)
    geoindex.build_index(table, out=path, **keys)
    encoder = geoindex.open_index(path, backend="torch").encoder
    features = dict(zip(stored(path, "images", "id"), stored(path, "images", "features"), strict=True))
    assert np.allclose(features[name], encoder.encode([photo])[0], atol=0.01)


@pytest.mark.parametrize("cache_gib", [8.0, 0.0])
def test_what_a_fit_saw_nothing_of_is_told(tmp_path, cache_gib):
    rows = world_rows(per_hub=4)
    write_world(tmp_path / "world", rows)
    table = write_table(tmp_path / "world" / "table.csv", [*rows, ("bad.jpg", "x", "y", "nl", "a")])
    for name, *_ in rows[::2]:
        (tmp_path / "world" / name).unlink()
    keys = {**TUNE, "finetuning": {**TUNE["finetuning"], "cache_gib": cache_gib}}
    report = train_encoder(table, out=tmp_path / "fit", **keys)
    counts = {reason: entry["count"] for reason, entry in report.left_out.items()}
    assert sorted(counts.values()) == [1, 16]
    assert report.failed == report.to_dict()["failed"] == 17
    assert all(f"left out {count}: {reason}" in report.to_text() for reason, count in counts.items())
    assert train_encoder(table, out=tmp_path / "fit", **keys).to_dict() == report.to_dict()  # finished: told again
    built = geoindex.build_index(table, out=tmp_path / "index", **KEYS, split_by="none")
    assert report.left_out == built.left_out
