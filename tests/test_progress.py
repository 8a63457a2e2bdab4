"""Progress bars: written over on terminals, and in logs whole lines, at most one a minute."""

import io
import re
import sys

import pytest

from fada_tf import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until its time is set."""

    class Clock:
        time = 1000.0

        def monotonic(self):
            return self.time

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def show(monkeypatch, stream, clock, **options) -> str:
    """Shows 500 steps, of half a second each, and returns what was written."""
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in progress.track(range(500), 500, "predict", "picture"):
        clock.time += 0.5
    return stream.getvalue()


def test_a_log_has_a_line_a_minute_and_a_last_one(monkeypatch, clock):
    text = show(monkeypatch, io.StringIO(), clock)
    assert not re.search(r"[\r\x1b]", text) and text.endswith("\n")
    counts = [int(re.fullmatch(r"predict: .* (\d+)/500 \[.*picture.*\]", line)[1]) for line in text.splitlines()]
    assert counts == [120, 240, 360, 480, 500]


def test_a_short_work_leaves_one_line_and_a_bar_that_is_not_to_stay_none(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar(2, "label", "image") as bar:
        bar.update(2)
        bar.close()
    assert sys.stderr.getvalue().count("\n") == 1 and "label: 100%" in sys.stderr.getvalue()
    for options in ({"leave": False}, {"disable": True}):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        with progress.bar(2, "label", "image", **options) as bar:
            bar.update(2)
        assert not sys.stderr.getvalue()


def test_a_text_of_its_own_is_told_in_the_same_way(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar(9, "", bar_format="{n_fmt}/{total_fmt} {desc}") as bar:
        for second in range(130):
            clock.time += 1
            bar.set_description_str(f"source/train | {second}/300")
        bar.update(9)
    assert sys.stderr.getvalue().splitlines() == [
        "0/9 source/train | 59/300", "0/9 source/train | 119/300", "9/9 source/train | 129/300",
    ]  # fmt: skip


def test_a_terminal_sees_one_line_that_changes(monkeypatch, clock):
    text = show(monkeypatch, Terminal(), clock)
    assert "\r" in text and text.count("\n") == 1 and "predict: 100%" in text


def test_a_notebook_is_like_a_terminal(monkeypatch):
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", stream)
    assert progress.is_live()
