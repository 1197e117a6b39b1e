"""Progress: sparse lines in a log, bars on a terminal, nothing on stdout."""

import sys

from fake_terminal import Terminal

from ms_omni.cli.progress import BarProgress, LogProgress, make_progress


def test_a_log_hears_only_of_what_takes_long(capsys):
    now = [0.0]
    progress = LogProgress(clock=lambda: now[0])
    for second in range(75):
        now[0] = float(second)
        progress("thinker", second, 100)
    progress("talker", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "ms-omni: thinking: 30 of 100 tokens\nms-omni: thinking: 60 of 100 tokens\n"


def test_bars_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    progress = make_progress()
    assert isinstance(progress, BarProgress)
    progress("load", 0, 0)
    progress("load", 3, 4)
    progress("talker", 7, 90)
    progress.close()
    drawn = sys.stderr.getvalue()
    assert all(part in drawn for part in ("loading", "3 of 4 weights", "speaking", "7 of 90 frames"))
    assert capsys.readouterr().out == ""


def test_lines_elsewhere():
    assert isinstance(make_progress(), LogProgress)


def test_closing_unused_bars_is_allowed():
    BarProgress().close()


def test_a_rank_that_is_watched_says_at_once_what_it_does(monkeypatch, capsys):
    monkeypatch.setenv("MS_OMNI_PROGRESS_S", "60")
    progress = make_progress()
    for done, total in ((0, 0), (1, 9)):
        progress("load", done, total)
    progress("thinker", 1, 0)
    assert capsys.readouterr().err == "ms-omni: loading ...\nms-omni: thinking: 1 tokens\n"
