"""Replicas on a Ray cluster answer as one server does."""

import json
import os
import signal
import subprocess

import pytest
from processes import connect, head, read_answer, serve
from requesting import jpeg
from tiles import PHOTOS

import geoindex


def ask(served, body):
    with connect(served) as connection, connection.makefile("rb") as file:
        connection.sendall(head(len(body)) + body)
        return read_answer(file)


def test_a_page_is_refused(run, built):
    code, _, err = run("serve", "--index", built.path, "--ray")
    assert (code, "--no-page" in err, err.count("\n")) == (2, True, 1)


def test_no_replica_is_refused(run, built):
    code, _, err = run("serve", "--index", built.path, "--no-page", "--replicas", "0", "--ray")
    assert (code, "must be 1 or more" in err) == (2, True)


@pytest.mark.ray
def test_more_replicas_than_there_is_room_for_are_refused(run, built, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    code, _, err = run("serve", "--index", built.path, "--no-page", "--device", "cpu", "--replicas", "3", "--ray")
    assert (code, err) == (
        2,
        "geoindex: replicas is 3, and the cluster has 2 cores, one for each; take fewer replicas.\n",
    )


@pytest.mark.ray
def test_replicas_answer_alike_and_bear_the_loss_of_one(built, tmp_path):
    photos = [jpeg(photo) for photo in PHOTOS[:6]]
    index = geoindex.open_index(built.path, device="cpu")
    wanted = [index.query_image(photo) for photo in photos]
    with serve(built.path, tmp_path / "log", "--no-page", "--device", "cpu", "--ray", "--replicas", "2") as served:
        for photo, prediction in zip(photos * 2, wanted * 2, strict=True):
            status, body = ask(served, photo)
            assert status == 200
            assert json.loads(body)["lat"] == pytest.approx(prediction.lat, abs=1e-6)
        assert ask(served, b"no image")[0] == 422
        replicas = processes("ray::ServeReplica:geoindex")
        assert len(replicas) == 2
        os.kill(replicas[0], signal.SIGKILL)
        answers = [ask(served, photo)[0] for photo in photos * 2]
        assert answers[2:] == [200] * 10  # what the dead one was asked may be lost with it
        assert served.end() == 0
    assert not processes("ray::ServeReplica:geoindex")


def processes(title):
    found = subprocess.run(["pgrep", "-f", title], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]
