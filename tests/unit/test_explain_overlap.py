"""Why an occurrence was queued, started late, skipped or cancelled because of another run of its task."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from domain.definition import Cron, Overlap, OverlapMode
from domain.facts import (
    ExecutionCancelled,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionSucceeded,
    TaskPaused,
    TaskResumed,
)
from tests.support.given import MINUTE, TASK, after, cancelled, created
from tests.support.telling import (
    Telling,
    claimed,
    codes,
    named,
    occurrence,
    policy,
    rule,
    run_of,
    said,
    sent,
    skipped,
)

FIRST, SECOND, THIRD = after(60), after(120), after(180)


async def busy(mode: OverlapMode) -> Telling:
    """A task of every minute from noon on whose first run goes on."""
    world = Telling()
    await world.happened(TASK, created(overlap=Overlap(mode=mode, max_running=1)))
    await world.happened(run_of(FIRST), claimed(FIRST), actor="scheduler:node-1")
    return world


def queued(due_at: datetime, behind: UUID) -> ExecutionQueued:
    return ExecutionQueued(
        at=due_at, occurrence=occurrence(due_at), behind=behind, next_run_at=due_at + MINUTE
    )


def overlapped(due_at: datetime, behind: UUID | None) -> ExecutionSkipped:
    fact = skipped(due_at, "overlap: an earlier run was still going on", at=due_at)
    return replace(fact, by="overlap", behind=behind)


def succeeded(at: datetime) -> ExecutionSucceeded:
    return ExecutionSucceeded(at=at, task_id=TASK, attempt=sent(at))


async def test_what_overlapped_is_skipped_and_names_the_run_that_went_on() -> None:
    world = await busy("skip")
    await world.happened(run_of(SECOND), overlapped(SECOND, run_of(FIRST)))
    told = await world.at(SECOND)
    assert (told.verdict, rule(told, "skipped")) == ("skipped", "overlap")
    assert told.summary == "It did not run: overlap: an earlier run was still going on."
    assert said(told, "skipped") == (
        "It was skipped at 2030-01-01T12:02:00Z: overlap: an earlier run was still going on; it would have "
        f"overlapped the run of 2030-01-01T12:01:00Z (execution {run_of(FIRST)}), which node-1 claimed at "
        "2030-01-01T12:01:00Z."
    )
    assert named(told, "skipped") == [("execution.skipped.v1", 3), ("execution.started.v1", 2)]
    assert policy(told, "skipped").startswith("overlap is skip with max_running 1")


async def test_what_overlapped_a_run_that_is_not_named_is_skipped_by_the_same_rule() -> None:
    world = await busy("skip")
    await world.happened(run_of(SECOND), overlapped(SECOND, None))
    told = await world.at(SECOND)
    assert rule(told, "skipped") == "overlap"
    assert named(told, "skipped") == [("execution.skipped.v1", 3)]


async def test_what_waits_in_the_queue_names_the_run_that_it_waits_for() -> None:
    world = await busy("queue_one")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    told = await world.at(SECOND)
    assert (told.verdict, rule(told, "queued")) == ("pending", "overlap")
    assert told.summary == (
        "It waits in the queue of its task, behind the run of 2030-01-01T12:01:00Z "
        f"(execution {run_of(FIRST)})."
    )
    assert said(told, "queued").startswith("It was queued at 2030-01-01T12:02:00Z, behind the run of")
    assert named(told, "queued") == [("execution.queued.v1", 3), ("execution.started.v1", 2)]
    assert await world.explainer.execution("default", run_of(SECOND)) == told


async def test_what_waits_behind_one_that_waits_itself_names_when_that_was_queued() -> None:
    world = await busy("queue_all")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    await world.happened(run_of(THIRD), queued(THIRD, run_of(SECOND)))
    await world.happened(run_of(SECOND), claimed(SECOND, at=after(200)))
    told = await world.at(THIRD)
    assert named(told, "queued") == [("execution.queued.v1", 4), ("execution.queued.v1", 3)]
    assert said(told, "queued").endswith(f"(execution {run_of(SECOND)}).")


async def test_what_started_from_the_queue_is_late_because_of_the_run_before() -> None:
    world = await busy("queue_one")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    await world.happened(run_of(FIRST), succeeded(after(155)))
    await world.happened(run_of(SECOND), claimed(SECOND, at=after(155)), succeeded(after(155)))
    told = await world.at(SECOND)
    assert (told.verdict, told.lateness_ms) == ("succeeded", 35_000)
    assert codes(told) == ["queued", "started_from_queue", "succeeded"]
    assert said(told, "started_from_queue") == (
        "node-1 started it from the queue, 35 s after its instant; the run of 2030-01-01T12:01:00Z "
        f"(execution {run_of(FIRST)}) had ended at 2030-01-01T12:02:35Z."
    )
    assert named(told, "started_from_queue") == [
        ("execution.started.v1", 5),
        ("execution.queued.v1", 3),
        ("execution.succeeded.v1", 4),
    ]
    assert told.summary == "It ran 35 s late: attempt 1 succeeded."


async def test_what_started_from_the_queue_says_so_though_the_run_before_is_not_over() -> None:
    """Room may have come about by an update of max_running."""
    world = await busy("queue_one")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    await world.happened(run_of(SECOND), claimed(SECOND, at=after(140)))
    told = await world.at(SECOND)
    assert said(told, "started_from_queue") == "node-1 started it from the queue, 20 s after its instant."
    assert told.verdict == "running"


async def test_the_queue_of_a_paused_task_stands_still_and_says_so() -> None:
    world = await busy("queue_one")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    await world.happened(TASK, TaskPaused(at=after(130)))
    told = await world.at(SECOND)
    assert (codes(told), rule(told, "paused")) == (["queued", "paused"], "pause")
    assert said(told, "paused") == (
        "The task is paused since 2030-01-01T12:02:10Z: what waits in its queue starts once it is resumed."
    )
    assert named(told, "paused") == [("task.paused.v1", 4)]
    await world.happened(TASK, TaskResumed(at=after(170)))
    await world.happened(run_of(SECOND), claimed(SECOND, at=after(171)))
    told = await world.at(SECOND)
    assert codes(told) == ["queued", "started_from_queue"]
    assert said(told, "started_from_queue").endswith("; the task was paused until 2030-01-01T12:02:50Z.")
    assert named(told, "started_from_queue")[2:] == [("task.paused.v1", 4), ("task.resumed.v1", 5)]


async def test_a_pause_before_it_was_queued_does_not_explain_its_wait() -> None:
    world = await busy("queue_one")
    await world.happened(TASK, TaskPaused(at=after(70)), TaskResumed(at=after(80)))
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    await world.happened(run_of(SECOND), claimed(SECOND, at=after(140)))
    await world.happened(TASK, TaskPaused(at=after(150)), TaskResumed(at=after(160)))
    assert "paused" not in said(await world.at(SECOND), "started_from_queue")


async def test_what_is_over_does_not_wait_for_a_paused_task() -> None:
    world = await busy("queue_one")
    end = ExecutionCancelled(at=after(130), task_id=TASK, reason="cancelled by a user")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)), end)
    await world.happened(TASK, TaskPaused(at=after(140)))
    told = await world.at(SECOND)
    assert (told.verdict, codes(told), rule(told, "cancelled")) == (
        "cancelled",
        ["queued", "cancelled"],
        "cancel",
    )


async def test_what_waited_when_its_task_was_cancelled_names_the_cancel() -> None:
    world = await busy("queue_one")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    await world.happened(TASK, cancelled(after(130)))
    end = ExecutionCancelled(
        at=after(131), task_id=TASK, reason="the task was cancelled before a scheduler took it"
    )
    await world.happened(run_of(SECOND), end)
    told = await world.at(SECOND)
    assert named(told, "cancelled") == [("execution.cancelled.v1", 5), ("task.cancelled.v1", 4)]


async def test_what_was_queued_cancelled_and_asked_for_again_is_no_start_from_the_queue() -> None:
    world = await busy("queue_one")
    end = ExecutionCancelled(at=after(130), task_id=TASK, reason="cancelled by a user")
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)), end)
    again = occurrence(SECOND, kind="backfill")
    await world.happened(run_of(SECOND), ExecutionRequested(at=after(200), occurrence=again))
    await world.happened(run_of(SECOND), claimed(SECOND, at=after(200), of=again))
    assert codes(await world.at(SECOND)) == ["queued", "cancelled", "requested", "claimed"]


async def test_what_the_next_one_replaced_names_it_and_its_claim() -> None:
    world = await busy("cancel_running")
    end = ExecutionCancelled(
        at=SECOND,
        task_id=TASK,
        reason="the next occurrence was due, and overlap.mode is cancel_running",
        interrupted=True,
        replaced_by=run_of(SECOND),
    )
    await world.together((run_of(FIRST), end), (run_of(SECOND), claimed(SECOND)))
    told = await world.at(FIRST)
    assert (told.verdict, rule(told, "cancelled")) == ("cancelled", "overlap")
    assert said(told, "cancelled") == (
        "It was cancelled at 2030-01-01T12:02:00Z: the next occurrence was due, and overlap.mode is "
        f"cancel_running; the run of 2030-01-01T12:02:00Z (execution {run_of(SECOND)}), which node-1 claimed "
        "at 2030-01-01T12:02:00Z, took its place; whether its last call arrived is unknown."
    )
    assert named(told, "cancelled") == [("execution.cancelled.v1", 3), ("execution.started.v1", 4)]
    assert policy(told, "cancelled").startswith("overlap is cancel_running with max_running 1")


async def test_what_took_the_place_of_others_names_their_ends() -> None:
    world = Telling()
    await world.happened(TASK, created(overlap=Overlap(mode="cancel_running", max_running=2)))
    for due_at in (FIRST, SECOND):
        await world.happened(run_of(due_at), claimed(due_at))
    end = ExecutionCancelled(at=THIRD, task_id=TASK, reason="replaced", replaced_by=run_of(THIRD))
    await world.together((run_of(FIRST), end), (run_of(THIRD), claimed(THIRD)))
    told = await world.at(THIRD)
    assert (codes(told), rule(told, "replaced")) == (["claimed", "replaced"], "overlap")
    assert said(told, "replaced") == (
        f"It took the place of the run of 2030-01-01T12:01:00Z (execution {run_of(FIRST)})."
    )
    assert named(told, "replaced") == [("execution.started.v1", 5), ("execution.cancelled.v1", 4)]
    assert codes(await world.at(SECOND)) == ["claimed"]


async def test_what_was_replaced_by_a_run_that_cannot_be_found_says_which() -> None:
    world = await busy("cancel_running")
    end = ExecutionCancelled(at=SECOND, task_id=TASK, reason="replaced", replaced_by=run_of(SECOND))
    await world.happened(run_of(FIRST), end)
    told = await world.at(FIRST)
    assert named(told, "cancelled") == [("execution.cancelled.v1", 3)]
    assert f"(execution {run_of(SECOND)}), took its place" in said(told, "cancelled")


async def test_what_waits_behind_a_run_that_cannot_be_found_says_which() -> None:
    world = Telling()
    await world.happened(TASK, created(overlap=Overlap(mode="queue_one")))
    await world.happened(run_of(SECOND), queued(SECOND, run_of(FIRST)))
    told = await world.at(SECOND)
    assert named(told, "queued") == [("execution.queued.v1", 2)]
    assert f"(execution {run_of(FIRST)})." in said(told, "queued")


async def test_a_queued_one_counts_as_recorded_and_as_the_last_of_its_runs() -> None:
    world = Telling()
    bounded = created(overlap=Overlap(mode="queue_one"), trigger=Cron(cron="* * * * *", max_runs=2))
    await world.happened(TASK, bounded)
    await world.happened(run_of(SECOND), replace(queued(SECOND, run_of(FIRST)), next_run_at=None))
    told = await world.at(FIRST, now=after(130))
    assert told.verdict == "unaccounted"
    await world.happened(run_of(FIRST), claimed(FIRST))
    told = await world.at(THIRD, now=after(200))
    assert (told.verdict, told.next) == ("no_occurrence", None)
    assert named(told, "no_occurrence") == [("task.created.v1", 1), ("execution.queued.v1", 2)]


async def test_a_backfill_is_not_taken_for_the_last_run_of_a_schedule() -> None:
    world = Telling()
    await world.happened(TASK, created(trigger=Cron(cron="* * * * *", max_runs=5)))
    again = occurrence(FIRST, kind="backfill")
    await world.happened(run_of(FIRST), skipped(FIRST, "missed", at=after(130)))
    await world.happened(run_of(FIRST), ExecutionRequested(at=after(140), occurrence=again))
    await world.happened(run_of(FIRST), replace(claimed(FIRST, of=again), next_run_at=None))
    assert (await world.at(THIRD, now=after(150))).verdict == "expected"
