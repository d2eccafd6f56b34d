"""Rebuilds on the command line: what is told while one goes on, and what came out."""

from __future__ import annotations

from io import StringIO

from infrastructure.projector.rebuild import Rebuilt
from interfaces.cli.render import Progress, RebuildReport
from tests.support.ticking import Ticking


def test_a_rebuild_says_where_it_goes_on_how_far_it_is_and_when_it_indexes() -> None:
    stream, clock = StringIO(), Ticking()
    report = RebuildReport(Progress(stream, clock))
    report.resumed(1_000)
    clock.seconds += 10
    report.folded(2_000, 4_000)
    clock.seconds += 10
    report.indexing()
    assert stream.getvalue().splitlines() == [
        "going on with an interrupted rebuild, from event 1,000",
        "event 2,000 of 4,000 (50 %), 100/s, 0:00:20 left",
        "making indexes",
    ]


def test_one_that_begins_again_counts_from_there() -> None:
    stream, clock = StringIO(), Ticking()
    report = RebuildReport(Progress(stream, clock))
    report.resumed(1_000)
    clock.seconds += 100
    report.begun_again()
    clock.seconds += 10
    report.folded(500, 4_000)
    assert stream.getvalue().splitlines()[1:] == [
        "an event cannot be applied: one process folds the log, from its beginning",
        "event 500 of 4,000 (12 %), 50/s, 0:01:10 left",
    ]


def test_at_the_end_it_says_up_to_which_event_and_what_was_parked() -> None:
    report = RebuildReport(Progress(StringIO(), Ticking()))
    assert report.ended(["tasks"], Rebuilt(7, 0)) == "rebuilt tasks up to event 7"
    assert report.ended(["tasks", "statistics"], Rebuilt(7, 2)) == (
        "rebuilt tasks, statistics up to event 7; 2 events could not be applied and are parked"
    )
