"""The command line: how it ends when it is told to stop."""

import os
import signal
import subprocess
import sys

import pytest
from terminal import ROOT, TINY, program, sentence, wait_for_shards
from tiles import world_rows, write_world

from geoindex.cli import app


def raised(monkeypatch, run, command, how):
    def stop(*_, **__):
        how()

    monkeypatch.setattr(
        "geoindex.cli.app", type("App", (), {"__call__": stop, "__getitem__": lambda _, name: app[name]})()
    )
    return run(command, "x")


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("command", ["build", "rebuild", "add", "train", "demo", "table1", "info"])
def test_ctrl_c_says_what_the_next_run_does(monkeypatch, run, command):
    code, _, err = raised(monkeypatch, run, command, interrupt)
    assert code == 130
    assert ("goes on where it stopped" in sentence(err)) == (command != "info")


def test_sigterm_ends_a_command_in_order_and_is_what_it_was_afterwards(monkeypatch, run):
    code, _, err = raised(monkeypatch, run, "build", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert code == 143
    assert sentence(err).startswith("geoindex: stopped; what was finished is kept")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


FORKING = """
import os, signal, time
from geoindex.signals import raising_on_sigterm

with raising_on_sigterm():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    time.sleep(0.1)
    os.kill(child, signal.SIGTERM)
    assert os.waitpid(child, 0)[1] == signal.SIGTERM
"""


def test_a_fork_dies_of_sigterm():
    # in a process of its own: this one has used libraries that must not be forked
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FORKING], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_the_program_is_loaded(tmp_path):
    (tmp_path / "cyclopts.py").write_text("raise KeyboardInterrupt\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "geoindex", "info", "x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "geoindex: interrupted.\n")


@pytest.mark.slow
def test_sigterm_during_a_build_publishes_nothing(tmp_path):
    table = write_world(tmp_path / "world", world_rows(per_hub=400))
    out = tmp_path / "index"
    process = program("build", table, "--out", out, "--split-by", "none", *TINY)
    wait_for_shards(process, out)
    process.send_signal(signal.SIGTERM)
    stdout, err = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (143, "")
    assert "stopped" in sentence(err)
    assert not (out / "CURRENT").exists()


def test_rollback_as_json(run, index_folder):
    code, out, _ = run("rollback", index_folder, "--to", "000001", "--format", "json")
    assert code == 0
    assert '"generation": "000001"' in out
