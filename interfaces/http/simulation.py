"""What would have happened, or will, if tasks were defined otherwise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from application.past import NotYet
from application.what_if import comparison as books
from domain.errors import FieldError, InvalidBody
from domain.schedule import changes_between
from interfaces.http import documentation as doc
from interfaces.http import simulation_request as simulating
from interfaces.http.api import Api
from interfaces.http.body_errors import JsonBody
from interfaces.http.parameters import Freshness, Injected
from interfaces.http.problems import (
    BODY_TOO_LARGE,
    INVALID_BODY,
    MALFORMED_JSON,
    TASK_NOT_FOUND,
    TOO_MUCH_TO_SIMULATE,
    UNSUPPORTED_MEDIA_TYPE,
)
from interfaces.http.schedule import ClockChange
from interfaces.http.simulation_request import SimulationRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from application.what_if.comparison import Account, Accounts, Side
    from interfaces.http.simulation_request import Simulated

MOST_CHANGES = 20
MOST_DOWNTIMES = 100

_MILLISECOND = timedelta(milliseconds=1)


class Skips(Struct, frozen=True, kw_only=True):
    """Occurrences that did not run, by what decided that."""

    catch_up: int
    pause: int
    overlap: int
    change: Annotated[int, Meta(description="The task was rescheduled or cancelled before the call.")]


class OccurrenceCounts(Struct, frozen=True, kw_only=True):
    """How many occurrences of the window came to what."""

    occurrences: int
    succeeded: int
    failed: int
    cancelled: int
    replaced: Annotated[int, Meta(description="Of the cancelled: they gave way to a newer one.")]
    unfinished: Annotated[int, Meta(description="Running or waiting when the window ends.")]
    skipped: Skips
    queued: Annotated[int, Meta(description="Waited for an earlier run of their task.")]
    caught_up: Annotated[int, Meta(description="Began more than a minute late, and did not wait in a queue.")]
    manual: Annotated[int, Meta(description="Run by users, out of turn.")]
    calls: Annotated[int, Meta(description="Attempts of all of these.")]


class SimulatedTask(Struct, frozen=True, kw_only=True):
    """A task by both accounts."""

    task_id: Annotated[UUID | None, Meta(description="null: a task that there is not yet.")]
    name: str
    before: OccurrenceCounts
    after: OccurrenceCounts
    assumed: Annotated[int, Meta(description="Executions with a call of which nothing is recorded.")]
    usual_duration_ms: Annotated[int, Meta(description="What such a call is taken to last; it succeeds.")]
    usual_duration_of: Annotated[
        int, Meta(description="Of how many calls that is the median; 0: it was given, or is a guess.")
    ]


class SimulatedOccurrence(Struct, frozen=True, kw_only=True):
    """An occurrence by one account."""

    status: Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]
    by: Annotated[
        str | None,
        Meta(description="What skipped it: catch_up, pause, overlap or change; overlap, too: it gave way."),
    ]
    reason: str | None
    began_at: Annotated[datetime | None, Meta(description="When its first call was to be sent.")]
    ended_at: datetime | None
    attempts: int
    queued: bool
    caught_up: bool


class OccurrenceDifference(Struct, frozen=True, kw_only=True):
    """An occurrence that the accounts tell otherwise; null: it is none by that account."""

    task_id: UUID | None
    execution_id: UUID
    due_at: datetime
    kind: Literal["scheduled", "manual", "backfill"]
    before: SimulatedOccurrence | None
    after: SimulatedOccurrence | None
    assumed: Annotated[bool, Meta(description="It rests on an assumption: see `assumed` of its task.")]


class BusyMinute(Struct, frozen=True, kw_only=True):
    """A minute, and how many calls are sent in it."""

    minute: datetime
    calls: int


class SentCalls(Struct, frozen=True, kw_only=True):
    """How many calls are sent, and the ten busiest minutes, the busiest first."""

    calls: int
    peaks: list[BusyMinute]


class LoadBucket(Struct, frozen=True, kw_only=True):
    """A part of the window, and how many calls are sent in it."""

    start: datetime
    before: int
    after: int


class Load(Struct, frozen=True, kw_only=True):
    """Calls over the window."""

    before: SentCalls
    after: SentCalls
    bucket_minutes: Annotated[int, Meta(description="How long a bucket is; there are at most 200.")]
    buckets: list[LoadBucket]


class CallsAtOnce(Struct, frozen=True, kw_only=True):
    """Calls to a destination."""

    calls: int
    most: Annotated[int, Meta(description="How many go on at once, at most.")]
    at: Annotated[datetime | None, Meta(description="When so for the first time.")]


class Collision(Struct, frozen=True, kw_only=True):
    """A destination, and how many calls go on there at once."""

    destination: Annotated[str, Meta(description="Host and port.")]
    before: CallsAtOnce
    after: CallsAtOnce


class TaskClockChanges(Struct, frozen=True, kw_only=True):
    """Changes of the clocks that concern a task's schedule, at most 20 by each account."""

    task_id: UUID | None
    name: str
    before: list[ClockChange]
    after: list[ClockChange]


class Downtime(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A span in which nobody claimed."""

    from_: datetime
    to: datetime


class SimulatedWindow(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What a window came to, before and after the change."""

    from_: datetime
    to: datetime
    before: OccurrenceCounts
    after: OccurrenceCounts
    tasks: list[SimulatedTask]
    differences: list[OccurrenceDifference]
    differences_total: int
    load: Load
    collisions: Annotated[list[Collision], Meta(description="By destination, the most crowded first.")]
    clock_changes: list[TaskClockChanges]
    downtimes: Annotated[
        list[Downtime],
        Meta(description="Of the past: when nobody claimed, by late claims of these tasks; at most 100."),
    ]


class SimulationAnswer(Struct, frozen=True, kw_only=True):
    """What would have happened, and what would; null: it was not asked for."""

    past: SimulatedWindow | None
    future: SimulatedWindow | None

    @classmethod
    def of(cls, simulated: Simulated) -> SimulationAnswer:
        """An answer as it is shown."""
        past = None if simulated.past is None else _window(simulated.past)
        future = None if simulated.future is None else _window(simulated.future)
        return cls(past=past, future=future)


def _window(found: Accounts) -> SimulatedWindow:
    loads, width = found.loads, found.loads.width // timedelta(minutes=1)
    ids = {run: task.task_id for task in found.tasks for run in task.after.entries | task.before.entries}
    assumed = frozenset[UUID]().union(*(task.assumed for task in found.tasks))
    return SimulatedWindow(
        from_=found.window.start,
        to=found.window.end,
        before=_counts(entry for task in found.tasks for entry in task.before.entries.values()),
        after=_counts(entry for task in found.tasks for entry in task.after.entries.values()),
        tasks=[_task(task) for task in found.tasks],
        differences=[_difference(each, ids, assumed) for each in found.differences],
        differences_total=found.total,
        load=Load(
            before=_as(SentCalls, loads.before),
            after=_as(SentCalls, loads.after),
            bucket_minutes=width,
            buckets=[_as(LoadBucket, each) for each in loads.buckets],
        ),
        collisions=[_as(Collision, each) for each in loads.crowding],
        clock_changes=[each for task in found.tasks for each in _clock_changes(task, found)],
        downtimes=[Downtime(from_=start, to=end) for start, end in found.downtimes[:MOST_DOWNTIMES]],
    )


def _task(task: Account) -> SimulatedTask:
    return SimulatedTask(
        task_id=task.task_id,
        name=task.name,
        before=_counts(task.before.entries.values()),
        after=_counts(task.after.entries.values()),
        assumed=len(task.assumed & (task.before.entries.keys() | task.after.entries.keys())),
        usual_duration_ms=task.usual.duration // _MILLISECOND,
        usual_duration_of=task.usual.calls,
    )


def _counts(entries: Iterable[books.Entry]) -> OccurrenceCounts:
    return _as(OccurrenceCounts, books.count(entries))


def _difference(
    difference: books.Difference, ids: Mapping[UUID, UUID | None], assumed: frozenset[UUID]
) -> OccurrenceDifference:
    entry = difference.before or difference.after
    assert entry is not None, "at least one account has it"
    return OccurrenceDifference(
        task_id=ids[entry.run],
        execution_id=entry.run,
        due_at=entry.due_at,
        kind=entry.kind,
        before=_occurrence(difference.before),
        after=_occurrence(difference.after),
        assumed=entry.run in assumed,
    )


def _occurrence(entry: books.Entry | None) -> SimulatedOccurrence | None:
    return None if entry is None else _as(SimulatedOccurrence, entry)


def _clock_changes(task: Account, found: Accounts) -> Iterator[TaskClockChanges]:
    before, after = (_changes(side, found) for side in (task.before, task.after))
    if before or after:
        yield TaskClockChanges(task_id=task.task_id, name=task.name, before=before, after=after)


def _changes(side: Side, found: Accounts) -> list[ClockChange]:
    """By each trigger while it was in force."""
    start, end = found.window.start, found.window.end
    ends = [*(since for since, _ in side.triggers[1:]), end]
    changes = (
        change
        for (since, trigger), until in zip(side.triggers, ends, strict=False)
        for change in changes_between(trigger, max(since, start), min(until, end))
    )
    return [ClockChange.of(each) for each in islice(changes, MOST_CHANGES)]


def _as[S: Struct](shape: type[S], value: object) -> S:
    return msgspec.convert(value, shape, from_attributes=True)


# What was recorded right before now is shown a moment later, and clocks differ a little.
SETTLING = timedelta(seconds=2)


@post(
    "/simulate",
    operation_id="simulateTasks",
    summary="Simulate a change",
    description="Nothing is stored. A window of the past is lived through again with what the log tells of "
    "it: answers, durations, downtimes, and what users did; one of the future from how things stand.",
    status_code=200,
    dto=JsonBody[SimulationRequest],
    return_dto=None,
    response_description="Both accounts of each window, and what they differ in.",
    responses=doc.problems(
        *(MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY, TASK_NOT_FOUND),
        *(TOO_MUCH_TO_SIMULATE, *doc.READING),
    ),
    tags=["tasks"],
)
async def simulate_tasks(
    data: JSONBody[SimulationRequest], api: Injected[Api], freshness: Injected[Freshness]
) -> SimulationAnswer:
    """What would have happened in the past, or will in the future, if tasks were defined otherwise."""
    now = datetime.now(UTC)
    past, _ = simulating.windows(data, now)
    try:
        if past is not None:
            await api.reach((await api.parts.past.at(past.end - SETTLING)).position)
        await api.reach(freshness.min_position)
        found = await simulating.simulate(
            data, api.parts.queries, api.parts.simulator, now, api.options.default_timezone
        )
    except NotYet as error:
        detail = f"It lies in the future, for {error}: give an earlier instant."
        raise InvalidBody([FieldError(pointer="/past/to", detail=detail)]) from None
    return await asyncio.to_thread(SimulationAnswer.of, found)
