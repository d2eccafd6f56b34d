"""Checks on the command line: what is printed while one goes on, of what it finds, and at its end."""

from __future__ import annotations

from io import StringIO
from uuid import UUID

import msgspec

from infrastructure.projector.batch import QuarantinedEvent
from infrastructure.projector.check import Checked, Difference, DifferentColumn
from interfaces.cli.render import CheckJsonLines, CheckReport, CheckSentences, Progress
from tests.support.ticking import Ticking

CHANGED = Difference(
    "tasks",
    "task_states",
    {"id": "7"},
    "different",
    (
        DifferentColumn("status", True, "paused", "scheduled"),
        DifferentColumn("next_run", True, None, "2030-01-01 00:00:00+00"),
        DifferentColumn("pause_note", False, None, None),
    ),
)
MISSING = Difference("statistics", "statistics", {"metric": "executions", "label": "failed"}, "missing")
UNEXPECTED = Difference("tasks", "task_states", {"id": "8"}, "unexpected")
REFUSED = QuarantinedEvent("tasks", 12, UUID(int=7), "DataError: too long")
CLEAN = Checked({"tasks": 1_200, "statistics": 1_200}, {"tasks": 0, "statistics": 0}, 0, 0)
SPOILT = Checked({"tasks": 1_200}, {"tasks": 1_000}, 3, 2)


def test_a_difference_is_a_line_with_what_is_and_what_should_be() -> None:
    told = CheckSentences()
    assert told.differs(CHANGED) == (
        "task_states, id 7: status is paused, should be scheduled; "
        "next_run is empty, should be 2030-01-01 00:00:00+00; pause_note differs"
    )
    assert told.differs(MISSING) == "statistics, metric executions, label failed: the row is missing"
    assert told.differs(UNEXPECTED) == "task_states, id 8: the row should not be there"
    assert told.refused(REFUSED) == (
        "tasks: event 12 cannot be applied, and is not parked: DataError: too long"
    )


def test_the_sum_says_as_of_which_event_and_what_mends_it() -> None:
    assert CheckSentences().ended(CLEAN).splitlines() == [
        "tasks compared as of event 1,200",
        "statistics compared as of event 1,200",
        "no row differs",
    ]
    assert CheckSentences().ended(SPOILT).splitlines() == [
        "tasks compared as of event 1,200; its 1,000 parked events left out",
        "2 events cannot be applied",
        "3 rows differ; `chronoledger rebuild` writes what the log tells",
    ]


def test_as_json_every_line_is_an_object() -> None:
    told = CheckJsonLines()
    lines = [told.differs(MISSING), told.differs(CHANGED), told.refused(REFUSED), told.ended(SPOILT)]
    missing, changed, refused, total = [msgspec.json.decode(line) for line in lines]
    assert missing == {
        "type": "difference",
        "projection": "statistics",
        "table": "statistics",
        "key": {"metric": "executions", "label": "failed"},
        "kind": "missing",
        "columns": [],
    }
    assert changed["columns"][0] == {
        "name": "status",
        "told": True,
        "stored": "paused",
        "expected": "scheduled",
    }
    assert (refused["type"], refused["position"]) == ("refused", 12)
    assert total == {
        "type": "sum",
        "positions": {"tasks": 1200},
        "parked": {"tasks": 1000},
        "differences": 3,
        "refused": 2,
    }


def test_what_is_found_goes_to_the_output_and_progress_beside_it() -> None:
    output, stream, clock = StringIO(), StringIO(), Ticking()
    report = CheckReport(CheckSentences(), output, Progress(stream, clock))
    clock.seconds += 10
    report.folded(1_000, 1_000)
    report.comparing("task_definitions")
    clock.seconds += 10
    report.comparing("task_states")
    report.refused(REFUSED)
    report.differs(UNEXPECTED)
    report.ended(CLEAN)
    assert len(output.getvalue().splitlines()) == 5
    assert stream.getvalue().splitlines()[1:] == ["comparing task_states"]
