"""The fold behind `tasks`: the row of a task after some facts."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.definition import Interval
from domain.facts import (
    ExecutionStarted,
    TaskCancelled,
    TaskCreated,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
)
from domain.schedule import fires_at
from projections.projection import PoisonEvent
from projections.tasks import TaskRow, Tasks, fold, task_of
from tests.support.entries import (
    NOON,
    RUN,
    TASK,
    Columns,
    after,
    answered,
    attempt,
    cancelled,
    columns,
    completed,
    created,
    definition,
    log,
    redaction,
    requested,
    shown,
    skipped,
    started,
    succeeded,
    undecodable,
    updated,
)

JITTERED = replace(definition(), trigger=Interval(every_seconds=60, anchor=NOON, jitter_seconds=60))
JITTERED_TASK = NewFact(TASK, 1, TaskCreated(at=NOON, namespace="x", definition=JITTERED, next_run_at=NOON))
TO_JITTERED = TaskUpdated(at=NOON, definition=JITTERED, next_run_at=after(60), runs=2)
REDACTED = NewFact(TASK, 3, TaskRedacted(at=after(2)))


def row_after(*facts: NewFact) -> TaskRow:
    return fold({}, log(*facts)).rows[TASK]


def paused(version: int = 2, note: str | None = "moving") -> NewFact:
    return NewFact(TASK, version, TaskPaused(at=after(version), note=note))


def resumed(version: int = 3) -> NewFact:
    return NewFact(TASK, version, TaskResumed(at=after(version)))


def claim_of(run: int, fire_at: datetime | None = None) -> NewFact:
    new = started(next_run=after(120))
    assert isinstance(new.fact, ExecutionStarted)
    occurrence = replace(new.fact.occurrence, run=run)
    return NewFact(new.stream, 1, replace(new.fact, occurrence=occurrence, next_fire_at=fire_at))


def test_a_created_task_is_scheduled_for_its_first_run() -> None:
    assert row_after(created()) == TaskRow(
        id=TASK,
        namespace="default",
        status="scheduled",
        created_at=NOON,
        updated_at=NOON,
        next_run=after(60),
        fires_at=after(60),
        runs=0,
        version=1,
        position=1,
        definition=definition(),
    )


RULES: dict[str, tuple[list[NewFact], Columns]] = {
    "an update without a place keeps place, runs and the instant of the call": (
        [created(), claim_of(3, after(130)), updated(next_run=None)],
        columns(next_run=after(120), runs=3, fires_at=after(130), version=2, updated_at=after(2)),
    ),
    "an update replaces the definition, and with a place it moves the task": (
        [created(), updated(next_run=after(7))],
        columns(next_run=after(7), definition=definition("renamed")),
    ),
    "a cancelled task fires no more": (
        [created(), cancelled()],
        columns(status="cancelled", next_run=None, fires_at=None, updated_at=after(2), version=2),
    ),
    "a task is completed when its last execution succeeded": (
        [created(), completed("succeeded")],
        columns(status="completed", next_run=None, fires_at=None),
    ),
    "a task has failed when its last execution did": (
        [created(), completed("failed")],
        columns(status="failed", next_run=None),
    ),
    "a claim moves the task, counts its runs, and touches nothing else": (
        [created(), claim_of(3)],
        columns(next_run=after(120), fires_at=after(120), runs=3, updated_at=NOON, version=1, position=2),
    ),
    "a claim tells when the next call is to be sent": (
        [created(), claim_of(3, after(130))],
        columns(next_run=after(120), fires_at=after(130)),
    ),
    "a jittered task fires after its next run": (
        [JITTERED_TASK],
        columns(next_run=NOON, fires_at=fires_at(JITTERED.trigger, TASK, NOON)),
    ),
    "an update to a jittered trigger tells its runs and its instant": (
        [created(), claim_of(3), NewFact(TASK, 2, TO_JITTERED)],
        columns(fires_at=fires_at(JITTERED.trigger, TASK, after(60)), runs=2),
    ),
    "a skipped occurrence moves the task": (
        [created(), skipped(next_run=after(180))],
        columns(next_run=after(180)),
    ),
    "a claim of an older definition moves nothing": (
        [created(), updated(next_run=after(7)), started(task_version=1, next_run=after(120))],
        columns(next_run=after(7), position=2),
    ),
    "a claim of a cancelled task moves nothing": (
        [created(), cancelled(), started(task_version=2, next_run=after(9))],
        columns(next_run=None),
    ),
    "a manual run moves nothing": (
        [created(), started(kind="manual", next_run=after(9))],
        columns(next_run=after(60), position=1),
    ),
    "a backfill moves nothing": (
        [created(), started(kind="backfill", next_run=after(9))],
        columns(next_run=after(60)),
    ),
    "a request moves nothing": ([created(), requested()], columns(position=1)),
    "an outcome is no matter of the task": (
        [created(), succeeded(2, attempt(1, answered()))],
        columns(position=1),
    ),
    "a paused task keeps its place and says since when and why": (
        [created(), paused()],
        columns(
            **columns(status="paused", next_run=after(60), version=2, paused_at=after(2)),
            **columns(resumed_at=None, pause_note="moving"),
        ),
    ),
    "a resumed task is scheduled and remembers the pause": (
        [created(), paused(), resumed()],
        columns(status="scheduled", next_run=after(60), version=3, paused_at=after(2), resumed_at=after(3)),
    ),
    "a second pause takes the place of the first": (
        [created(), paused(), resumed(), paused(4, None)],
        columns(paused_at=after(4), resumed_at=None, pause_note=None),
    ),
    "an update of a paused task leaves it paused": (
        [created(), paused(), updated(version=3, next_run=after(90))],
        columns(status="paused", next_run=after(90), paused_at=after(2)),
    ),
    "a redacted task tells since when": (
        [created(), NewFact(TASK, 2, TaskCancelled(at=after(1))), REDACTED],
        columns(status="cancelled", redacted_at=after(2), updated_at=after(2), version=3),
    ),
}


@pytest.mark.parametrize(("facts", "expected"), RULES.values(), ids=RULES)
def test_a_row_is_what_its_facts_come_to(facts: list[NewFact], expected: Columns) -> None:
    assert shown(row_after(*facts), expected) == expected


def test_jitter_is_a_delay() -> None:
    assert (row_after(JITTERED_TASK).fires_at or NOON) > NOON


@pytest.mark.parametrize(
    "fact",
    [started(next_run=after(90)), redaction(TASK)],
    ids=["a claim", "a redaction of a definition not read"],
)
def test_a_batch_goes_on_from_the_stored_row_and_leaves_its_definition(fact: NewFact) -> None:
    stored = replace(row_after(created()), definition=None)
    row = fold({TASK: stored}, log(fact, first_position=9)).rows[TASK]
    moved = {"next_run": after(90), "fires_at": after(90), "position": 9} if fact.stream == RUN else {}
    assert row == replace(stored, **moved)


@pytest.mark.parametrize(("fact", "status"), [(cancelled(), "cancelled"), (paused(), "paused")])
def test_counts_follow_every_change_of_status_and_keep_their_zeros(fact: NewFact, status: str) -> None:
    counts = fold({}, log(created(), fact)).counts
    assert dict(counts) == {("default", "scheduled"): 0, ("default", status): 1}


def test_what_cannot_be_applied_is_poison_and_says_why() -> None:
    with pytest.raises(PoisonEvent, match=r"TaskUpdated at position 1: .* has no row"):
        fold({}, log(updated()))
    with pytest.raises(PoisonEvent, match="has no row"):
        fold({}, log(redaction(TASK)))
    with pytest.raises(PoisonEvent, match="Undecodable at position 7: a later release wrote it"):
        fold({}, [undecodable(TASK)])


def test_facts_of_executions_and_redactions_wait_behind_their_task() -> None:
    entries = log(started(), succeeded(2, attempt(1, answered())), redaction(TASK))
    assert [Tasks().key(entry) for entry in entries] == [TASK, RUN, TASK]


def test_a_redaction_of_executions_alone_leaves_the_task() -> None:
    [of_run, of_task] = log(redaction(RUN), created())
    assert (task_of(of_run), task_of(of_task)) == (None, TASK)
