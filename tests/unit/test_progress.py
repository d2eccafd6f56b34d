"""Progress of long commands: what is told of it, where, and how often."""

from __future__ import annotations

from io import StringIO

from interfaces.cli.render import Progress
from tests.support.ticking import Ticking


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_progress_is_one_line_with_rate_and_rest() -> None:
    stream, clock = Terminal(), Ticking()
    progress = Progress(stream, clock)
    progress.reached(10, 1_000_000)
    assert stream.getvalue() == "", "too soon to say anything"
    clock.seconds += 5
    progress.reached(250_000, 1_000_000)
    clock.seconds += 0.01
    progress.reached(250_100, 1_000_000)
    clock.seconds += 1
    progress.doing("comparing task_states")
    progress.clear()
    assert stream.getvalue().split("\r\033[K") == [
        "",
        "event 250,000 of 1,000,000 (25 %), 50,000/s, 0:00:15 left",
        "comparing task_states",
        "",
    ]


def test_elsewhere_progress_is_a_line_every_five_seconds() -> None:
    stream, clock = StringIO(), Ticking()
    progress = Progress(stream, clock)
    for _ in range(11):
        clock.seconds += 1
        progress.reached(1_000 * round(clock.seconds - 100), 11_000)
    progress.clear()
    assert stream.getvalue().splitlines() == [
        "event 5,000 of 11,000 (45 %), 1,000/s, 0:00:06 left",
        "event 10,000 of 11,000 (90 %), 1,000/s, 0:00:01 left",
    ]


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    stream, clock = StringIO(), Ticking()
    progress = Progress(stream, clock)
    progress.begun(900_000)
    progress.note("going on")
    clock.seconds += 10
    progress.reached(950_000, 1_000_000)
    assert stream.getvalue().splitlines() == [
        "going on",
        "event 950,000 of 1,000,000 (95 %), 5,000/s, 0:00:10 left",
    ]


def test_the_rate_of_a_stage_leaves_out_what_was_done_before() -> None:
    stream, clock = StringIO(), Ticking()
    progress = Progress(stream, clock)
    clock.seconds += 60
    progress.at_stage("stored", 500_000, 1_000_000)
    clock.seconds += 10
    progress.at_stage("stored", 600_000, 1_000_000)
    progress.at_stage("compared", 0, 1_000_000)
    clock.seconds += 5
    progress.at_stage("compared", 0, 1_000_000)
    assert stream.getvalue().splitlines() == [
        "stored: event 600,000 of 1,000,000 (60 %), 10,000/s, 0:00:40 left",
        "compared: event 0 of 1,000,000 (0 %), 0/s",
    ]
