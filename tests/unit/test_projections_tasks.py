"""The fold behind `tasks`."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from application.ports import NewFact, Recorded, Undecodable
from domain.definition import Interval
from domain.facts import ExecutionStarted, TaskCreated, TaskUpdated
from domain.schedule import fires_at
from projections.projection import PoisonEvent
from projections.tasks import TaskRow, Tasks, fold
from tests.support.entries import (
    META,
    NOON,
    RUN,
    TASK,
    after,
    answered,
    attempt,
    cancelled,
    completed,
    created,
    definition,
    log,
    skipped,
    started,
    succeeded,
    updated,
)


def row_after(*facts: NewFact) -> TaskRow:
    return fold({}, log(*facts)).rows[TASK]


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


def test_an_update_without_a_place_keeps_the_place() -> None:
    row = row_after(created(), updated(next_run=None))
    assert (row.next_run, row.version, row.updated_at) == (after(60), 2, after(2))
    assert row.definition == definition("renamed")


def test_an_update_with_a_place_moves_the_task() -> None:
    assert row_after(created(), updated(next_run=after(7))).next_run == after(7)


def test_a_cancelled_task_has_no_next_run() -> None:
    row = row_after(created(), cancelled())
    assert (row.status, row.next_run, row.updated_at, row.version) == ("cancelled", None, after(2), 2)


@pytest.mark.parametrize(("outcome", "status"), [("succeeded", "completed"), ("failed", "failed")])
def test_a_one_off_ends_as_its_execution_did(outcome: str, status: str) -> None:
    row = row_after(created(), completed(outcome))  # type: ignore[arg-type]
    assert (row.status, row.next_run) == (status, None)


def test_a_claim_moves_the_task_and_touches_nothing_else() -> None:
    row = row_after(created(), started(next_run=after(120)))
    assert (row.next_run, row.updated_at, row.version, row.position) == (after(120), NOON, 1, 2)


def claim_of(run: int, fire_at: datetime | None = None) -> NewFact:
    new = started(next_run=after(120))
    assert isinstance(new.fact, ExecutionStarted)
    occurrence = replace(new.fact.occurrence, run=run)
    return NewFact(new.stream, 1, replace(new.fact, occurrence=occurrence, next_fire_at=fire_at))


def test_a_claim_tells_how_many_runs_there_were_and_when_the_next_call_is_to_be_sent() -> None:
    row = row_after(created(), claim_of(3, after(130)))
    assert (row.runs, row.next_run, row.fires_at) == (3, after(120), after(130))
    assert row_after(created(), claim_of(3)).fires_at == after(120)


def test_a_jittered_task_fires_after_its_next_run() -> None:
    jittered = replace(definition(), trigger=Interval(every_seconds=60, anchor=NOON, jitter_seconds=60))
    row = row_after(
        NewFact(TASK, 1, TaskCreated(at=NOON, namespace="x", definition=jittered, next_run_at=NOON))
    )
    assert row.fires_at == fires_at(jittered.trigger, TASK, NOON) > NOON
    moved = TaskUpdated(at=NOON, definition=jittered, next_run_at=after(60), runs=2)
    row = row_after(created(), claim_of(3), NewFact(TASK, 2, moved))
    assert (row.fires_at, row.runs) == (fires_at(jittered.trigger, TASK, after(60)), 2)


def test_an_update_without_a_place_keeps_the_runs_and_the_instant_of_the_call() -> None:
    row = row_after(created(), claim_of(3, after(130)), updated(next_run=None))
    assert (row.runs, row.fires_at) == (3, after(130))


def test_a_task_that_is_over_fires_no_more() -> None:
    assert row_after(created(), cancelled()).fires_at is None
    assert row_after(created(), completed("succeeded")).fires_at is None


def test_a_skipped_occurrence_moves_the_task() -> None:
    assert row_after(created(), skipped(next_run=after(180))).next_run == after(180)


def test_a_claim_of_an_older_definition_moves_nothing() -> None:
    row = row_after(created(), updated(next_run=after(7)), started(task_version=1, next_run=after(120)))
    assert (row.next_run, row.position) == (after(7), 2)


def test_a_claim_of_a_cancelled_task_moves_nothing() -> None:
    assert row_after(created(), cancelled(), started(task_version=2, next_run=after(9))).next_run is None


@pytest.mark.parametrize("kind", ["manual", "backfill"])
def test_a_run_out_of_turn_moves_nothing(kind: str) -> None:
    assert row_after(created(), started(kind=kind, next_run=after(9))).next_run == after(60)  # type: ignore[arg-type]


def test_an_outcome_is_no_matter_of_the_task() -> None:
    changes = fold({}, log(created(), succeeded(2, attempt(1, answered()))))
    assert changes.rows[TASK].position == 1


def test_a_batch_goes_on_from_the_stored_row_and_leaves_its_definition() -> None:
    stored = fold({}, log(created())).rows[TASK]
    stored = TaskRow(
        **{name: getattr(stored, name) for name in stored.__struct_fields__ if name != "definition"}
    )
    row = fold({TASK: stored}, log(started(next_run=after(90)), first_position=9)).rows[TASK]
    assert (row.next_run, row.position, row.definition) == (after(90), 9, None)


def test_counts_follow_every_change_of_status_and_keep_their_zeros() -> None:
    assert fold({}, log(created(), cancelled())).counts == {
        ("default", "scheduled"): 0,
        ("default", "cancelled"): 1,
    }
    assert ("default", "scheduled") in fold({}, log(created(), cancelled())).counts


def test_a_fact_about_a_task_that_was_never_created_is_poison() -> None:
    with pytest.raises(PoisonEvent, match=r"TaskUpdated at position 1: .* has no row"):
        fold({}, log(updated()))


def test_an_event_that_cannot_be_read_is_poison_and_says_why() -> None:
    fact = Undecodable(topic="task.paused.v9", error="a later release wrote it")
    entry = Recorded(position=7, stream=TASK, version=2, fact=fact, meta=META, recorded_at=NOON)
    with pytest.raises(PoisonEvent, match="Undecodable at position 7: a later release wrote it"):
        fold({}, [entry])


def test_facts_of_executions_wait_behind_their_task() -> None:
    claim, outcome = log(started(), succeeded(2, attempt(1, answered())))
    assert (Tasks().key(claim), Tasks().key(outcome)) == (TASK, RUN)
