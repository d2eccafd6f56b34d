"""What read models make of redactions: the rows that a rebuild from the rewritten log makes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.facts import EventsRedacted, ExecutionFailed, Rewritten, TaskCancelled, TaskCreated, TaskRedacted
from domain.identity import redaction_stream
from domain.redaction import erased
from projections import statistics, task_results, tasks
from projections.projection import PoisonEvent
from tests.support.entries import NOON, RUN, TASK, after, answered, attempt, created, log, started
from tests.support.random_log import RandomLog


def redaction(*streams: UUID, task_id: UUID = TASK) -> NewFact:
    rewritten = tuple(Rewritten(1, stream, "") for stream in streams)
    return NewFact(
        redaction_stream(task_id), 1, EventsRedacted(at=NOON, task_id=task_id, rewritten=rewritten)
    )


def folded(facts: Sequence[NewFact]) -> tuple[Any, Any, Any]:
    entries = log(*facts)
    counted = statistics.fold({}, entries)
    return tasks.fold({}, entries), task_results.fold({}, entries), (counted.totals, counted.minutes)


@pytest.mark.parametrize("seed", range(20))
def test_a_fold_of_the_rewritten_log_comes_to_the_rows_of_the_redacted_one(seed: int) -> None:
    facts = RandomLog(seed).grow(600)
    chance = random.Random(seed)
    streams = sorted({new.stream for new in facts})
    chosen = set(chance.sample(streams, len(streams) // 2))
    told = [redaction(*chosen)]
    of_tasks = [new.stream for new in facts if isinstance(new.fact, TaskCreated) and new.stream in chosen]
    told += [redaction(task_id, task_id=task_id) for task_id in of_tasks]
    rewritten = [
        NewFact(new.stream, new.version, erased(new.fact)) if new.stream in chosen else new for new in facts
    ]
    assert rewritten != facts
    assert folded([*rewritten, *told]) == folded([*facts, *told])


def test_a_redacted_task_tells_since_when() -> None:
    end = NewFact(TASK, 2, TaskCancelled(at=after(1)))
    redacted = NewFact(TASK, 3, TaskRedacted(at=after(2)))
    row = tasks.fold({}, log(created(), end, redacted)).rows[TASK]
    assert (row.status, row.redacted_at, row.updated_at, row.version) == ("cancelled", after(2), after(2), 3)


def test_a_definition_that_stays_in_its_table_is_read_only_when_it_is_to_be_erased() -> None:
    row = replace(tasks.fold({}, log(created())).rows[TASK], definition=None)
    assert tasks.fold({TASK: row}, log(redaction(TASK))).rows[TASK] == row


def test_a_redaction_of_executions_alone_leaves_the_task() -> None:
    [created_entry] = log(created())
    entry = log(redaction(RUN))[0]
    assert (tasks.task_of(entry), tasks.task_of(created_entry)) == (None, TASK)


def test_a_redaction_waits_behind_what_its_task_waits_behind() -> None:
    [entry] = log(redaction(TASK))
    assert tasks.Tasks().key(entry) == TASK
    with pytest.raises(PoisonEvent):
        tasks.fold({}, [entry])


def test_what_is_in_no_row_is_not_erased() -> None:
    assert task_results.fold({}, log(redaction(RUN))).rows == {}


def test_the_ledger_still_tells_how_often_and_with_what_status_a_call_failed() -> None:
    facts = [created(), started(), NewFact(RUN, 2, failed_with(503))]
    row = task_results.fold({}, log(*facts, redaction(RUN))).rows[RUN]
    assert (row.error_message, row.status_code) == ("the server answered with status 503", 503)
    assert (row.response_body, row.response_headers) == ("[redacted]", {"content-type": "[redacted]"})


def failed_with(status: int) -> Any:
    return ExecutionFailed(at=NOON, task_id=TASK, attempt=attempt(1, answered(status)), reason="final")
