"""Explanations on the command line: what may be asked, and what is printed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import click
import msgspec
import pytest

from interfaces import explained_text
from interfaces.explained_text import OfExecution, OfTask
from interfaces.http.explained import Explanation
from tests.support.given import TASK, after, created
from tests.support.telling import Telling, claimed, run_of


def test_a_task_is_asked_for_with_an_instant_or_without() -> None:
    assert explained_text.question(TASK, None, None) == OfTask(TASK, None)
    asked = explained_text.question(TASK, "2030-01-01T14:00:00+02:00", None)
    assert asked == OfTask(TASK, datetime(2030, 1, 1, 12, tzinfo=UTC))


def test_an_execution_is_asked_for_alone() -> None:
    assert explained_text.question(None, None, TASK) == OfExecution(TASK)


@pytest.mark.parametrize(
    ("task_id", "at", "execution_id", "advice"),
    [
        (None, None, None, "Give the id of a task, or --execution"),
        (TASK, None, TASK, "--execution stands alone"),
        (None, "2030-01-01T12:00:00Z", TASK, "--execution stands alone"),
        (TASK, "noon", None, 'at "noon" is not an instant'),
        (TASK, "2030-01-01T12:00:00", None, "with an offset"),
        (TASK, "1969-12-31T23:00:00Z", None, "from 1970 to 9998"),
    ],
)
def test_a_wrong_question_says_what_to_give(
    task_id: UUID | None, at: str | None, execution_id: UUID | None, advice: str
) -> None:
    with pytest.raises(click.UsageError, match=advice):
        explained_text.question(task_id, at, execution_id)


async def test_the_text_has_the_sentences_the_rules_and_the_events() -> None:
    world = Telling()
    await world.happened(TASK, created())
    await world.happened(run_of(after(60)), claimed(after(60)), actor="scheduler:node-1")
    told = await world.at(after(60))
    assert explained_text.as_text(told).splitlines() == [
        "It runs: node-1 claimed attempt 1 at 2030-01-01T12:01:00Z.",
        "",
        "verdict    running",
        f"task       {TASK}",
        f"execution  {run_of(after(60))}",
        "instant    2030-01-01T12:01:00Z",
        "after      2030-01-01T12:02:00Z",
        "",
        "- node-1 claimed it at its instant.",
        "  rule: claim: An occurrence starts by one claim: the log takes it once, and only from the task as "
        "it then is.",
        f"  event: 2 execution.started.v1, version 1 of {run_of(after(60))}, 2030-01-01T12:01:00Z "
        "by scheduler:node-1",
    ]


async def test_the_data_is_that_of_the_api() -> None:
    world = Telling()
    await world.happened(TASK, created())
    told = await world.at(after(90))
    printed = explained_text.as_json(told)
    assert msgspec.json.decode(printed, type=Explanation) == Explanation.of(told)
    assert '"next": "2030-01-01T12:02:00Z"' in printed
