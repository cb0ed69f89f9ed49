import io
import time
from contextlib import redirect_stderr

import pytest

from geoindex.progress import Progress, Stages, track, write


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_is_told_how_far_a_long_step_is(capsys, monkeypatch):
    monkeypatch.setattr("geoindex.progress.LINE_S", 0.0)
    with Progress("embedding", 8000, "image", done=2000) as bar:
        bar.advance(2000)
    with Progress("scanning", None, "row") as bar:
        bar.advance()
    assert capsys.readouterr().err == "embedding: image 4,000 of 8,000 (50%)\nscanning: row 1\n"


def test_nothing_is_drawn_when_nobody_watches(capsys):
    with Progress("embedding", 3, "image") as bar:
        bar.advance(3)
    assert list(track([1, 2], "locating")) == [1, 2]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_terminal_sees_label_count_and_unit(capsys):
    with redirect_stderr(Terminal()) as screen, Progress("embedding", 8, "image", done=2) as bar:
        bar.advance()
        bar.advance(5)
    for part in ("embedding", "2/8", "8/8", "image"):
        assert part in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_tracked_items_pass_through_and_are_counted():
    with redirect_stderr(Terminal()) as screen:
        assert list(track(["a", "b", "c"], "locating", unit="photo")) == ["a", "b", "c"]
    assert "3/3" in screen.getvalue()
    assert "photo" in screen.getvalue()


def test_results_on_the_same_terminal_begin_a_line(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", screen)
    with Progress("locating", 2, "photo") as bar:
        write("answer\n", screen)
        bar.advance()
    assert "\ranswer\n" in screen.getvalue()


def test_tracking_asks_for_one_item_at_a_time():
    asked = []
    items = track((asked.append(n) or n for n in range(5)), "counting", total=5)
    assert next(items) == 0
    assert asked == [0]


def test_an_error_inside_goes_through_and_ends_the_line():
    screen = Terminal()
    with redirect_stderr(screen), pytest.raises(ValueError, match="stop"), Progress("embedding", 2, "image"):
        raise ValueError("stop")
    assert screen.getvalue().endswith("\n")


def test_stages_add_up_in_the_order_in_which_they_first_ran():
    stages = Stages()
    for name in ("scan", "embed", "scan"):
        with stages(name):
            time.sleep(0.002)
    assert list(stages.seconds) == ["scan", "embed"]
    assert stages.seconds["scan"] >= 0.004
    assert stages.milliseconds()["scan"] == pytest.approx(1000 * stages.seconds["scan"], abs=0.001)


def test_a_stage_that_fails_is_timed_too():
    stages = Stages()
    with pytest.raises(RuntimeError), stages("embed"):
        raise RuntimeError
    assert list(stages.seconds) == ["embed"]
