"""Explanations on the command line: what may be asked, and what is printed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import click
import msgspec
import pytest

from application.ports import Group, Meta, NewFact
from domain.definition import Overlap, RetryPolicy
from domain.facts import ExecutionSucceeded, TaskFailuresCounted, TaskPaused
from interfaces.cli import render as explained_text
from interfaces.cli.render import OfExecution, OfTask
from interfaces.http.explanations import Explanation
from tests.support.given import TASK, after, created
from tests.support.telling import Telling, claimed, failed, ran, run_of, sent


def test_a_task_is_asked_for_with_an_instant_or_without() -> None:
    assert explained_text.explanation_question(TASK, None, None) == OfTask(TASK, None)
    asked = explained_text.explanation_question(TASK, "2030-01-01T14:00:00+02:00", None)
    assert asked == OfTask(TASK, datetime(2030, 1, 1, 12, tzinfo=UTC))


def test_an_execution_is_asked_for_alone() -> None:
    assert explained_text.explanation_question(None, None, TASK) == OfExecution(TASK)


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
        explained_text.explanation_question(task_id, at, execution_id)


async def test_the_text_has_the_sentences_the_rules_and_the_events() -> None:
    world = Telling()
    await world.happened(TASK, created())
    await world.happened(run_of(after(60)), claimed(after(60)), actor="scheduler:node-1")
    told = await world.at(after(60))
    assert explained_text.explanation_text(told).splitlines() == [
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


async def test_a_reason_is_printed_behind_who_gave_it() -> None:
    world = Telling()
    meta = Meta(actor="ann", correlation_id="", command_id=UUID(int=1), reason="a new report")
    await world.log.append(Group(facts=(NewFact(TASK, 1, created()),), meta=meta))
    printed = explained_text.explanation_text(await world.at(None))
    assert f"version 1 of {TASK}, 2030-01-01T12:00:00Z by ann: a new report\n" in printed


async def test_lateness_is_printed_where_there_is_any() -> None:
    late = ExecutionSucceeded(at=after(95), task_id=TASK, attempt=sent(after(95)))
    told = await (await ran(claimed(after(60), at=after(95)), late)).at(after(60))
    assert "late by    35 s" in explained_text.explanation_text(told).splitlines()


async def test_each_policy_is_printed_with_its_values_and_the_events_that_tell_it() -> None:
    world = await ran(
        claimed(after(60)),
        retry=RetryPolicy(disable_after_failures=1, on_gone="stop"),
        overlap=Overlap(mode="skip", max_running=1),
    )
    await world.together(
        (run_of(after(60)), failed(after(61))),
        (TASK, TaskFailuresCounted(at=after(61), failures=1, execution_id=run_of(after(60)))),
        (TASK, TaskPaused(at=after(61), note="1 execution has failed")),
    )
    printed = explained_text.explanation_text(await world.at(None)).splitlines()
    assert printed[0] == (
        "The task is paused since 2030-01-01T12:01:01Z by scheduler:node-1 (1 execution has failed): nothing "
        "starts until it is resumed."
    )
    at = printed.index(
        "- The task was paused at 2030-01-01T12:01:01Z: 1 execution failed in a row, last the run of "
        f"2030-01-01T12:01:00Z (execution {run_of(after(60))})."
    )
    assert printed[at + 1 : at + 4] == [
        "  rule: disable_after_failures is 1: a task is paused once 1 execution failed in a row",
        f"  event: 4 task.failures_counted.v1, version 2 of {TASK}, 2030-01-01T12:01:01Z by scheduler:node-1",
        f"  event: 5 task.paused.v1, version 3 of {TASK}, 2030-01-01T12:01:01Z by scheduler:node-1",
    ]
    assert "- In force: overlap is skip with max_running 1." in printed
    assert "- In force: on_gone is stop." in printed


async def test_the_data_is_that_of_the_api() -> None:
    world = Telling()
    await world.happened(TASK, created())
    told = await world.at(after(90))
    printed = explained_text.explanation_json(told)
    assert msgspec.json.decode(printed, type=Explanation) == Explanation.of(told)
    assert '"next": "2030-01-01T12:02:00Z"' in printed
