"""`tasks`: every task as it stands, and when it is due next."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection

from domain.definition import Cron, Definition, Interval, OneOff
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    PlacingFact,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFact,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
)
from domain.redaction import erased_definition, erased_text
from domain.schedule import fires_at
from projections.projection import Entry, beginning_missing, statement, unknown
from projections.rows import (
    StateCounts,
    Taken,
    bigint,
    count_change,
    double,
    head,
    instant,
    jsonb,
    microseconds,
    put,
    take,
    text,
    uuids,
    verbatim,
    word,
    write_counts,
)
from projections.views import TaskStatus


class TaskRow(Struct, frozen=True, kw_only=True, gc=False):
    """What the fold knows of a task. `definition` None: the stored one stays.

    `fires_at` is when the call of `next_run` is to be sent, after so many `runs` since the trigger changed.
    `paused_at`, `resumed_at` and `pause_note` tell of the last pause; a paused task keeps its `next_run`.
    """

    id: UUID
    namespace: str
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    next_run: datetime | None
    fires_at: datetime | None
    runs: int
    version: int
    position: int
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    pause_note: str | None = None
    redacted_at: datetime | None = None
    definition: Definition | None = None


_definition = msgspec.json.Decoder(Definition)

# In the order in which take_task_states.sql returns them.
_STATE = tuple(name for name in TaskRow.__struct_fields__ if name != "definition")


async def take_tasks(connection: AsyncConnection, ids: Collection[UUID]) -> Taken[TaskRow]:
    """Take the states of those tasks that have one out of their table; definitions stay where they are."""
    return await take(connection, "take_task_states", ids, _taken)


def _taken(row: Sequence[Any]) -> TaskRow:
    return TaskRow(**dict(zip(_STATE, row, strict=True)))


async def with_definitions(
    connection: AsyncConnection, rows: dict[UUID, TaskRow], ids: Collection[UUID]
) -> dict[UUID, TaskRow]:
    """The rows; those of `ids` with their stored definitions."""
    if not ids:
        return rows
    cursor = await connection.execute(statement("get_definitions"), {"ids": uuids(ids)})
    stored = {row[0]: _definition.decode(row[1]) for row in await cursor.fetchall()}
    return rows | {
        task_id: replace(rows[task_id], definition=definition)
        for task_id, definition in stored.items()
        if task_id in rows
    }


async def put_tasks(connection: AsyncConnection, rows: Collection[TaskRow], stored: Container[UUID]) -> None:
    """Put states back, and new definitions: of the tasks in `stored` in the place of the old one."""
    defined = [row for row in rows if row.definition is not None]
    if replaced := [row.id for row in defined if row.id in stored]:
        await connection.execute(statement("drop_task_definitions"), {"ids": uuids(replaced)})
    await put(connection, "put_task_definitions", defined, _definition_fields)
    await put(connection, "put_task_states", rows, _state_fields)


_state_head = head("uuid", "int8", "int8", "int8", "int8", "int8")
_STATE_FIELDS = 14
_definition_head = head("uuid", "int8")
_DEFINITION_FIELDS = 16


def _state_fields(row: TaskRow) -> tuple[bytes, ...]:
    return (
        _state_head(
            _STATE_FIELDS,
            16,
            row.id.int.to_bytes(16),
            8,
            microseconds(row.created_at),
            8,
            microseconds(row.updated_at),
            8,
            row.runs,
            8,
            row.version,
            8,
            row.position,
        ),
        word(row.namespace),
        word(row.status),
        instant(row.next_run),
        instant(row.fires_at),
        instant(row.paused_at),
        instant(row.resumed_at),
        text(row.pause_note),
        instant(row.redacted_at),
    )


def _definition_fields(row: TaskRow) -> tuple[bytes, ...]:
    """The last one is the faithful one, the others can be searched."""
    definition = row.definition
    assert definition is not None, "only rows with a definition come here"
    trigger, action = definition.trigger, definition.action
    return (
        _definition_head(_DEFINITION_FIELDS, 16, row.id.int.to_bytes(16), 8, microseconds(row.created_at)),
        word(row.namespace),
        text(definition.name),
        word(str(trigger.__struct_config__.tag)),
        instant(trigger.datetime if isinstance(trigger, OneOff) else None),
        text(trigger.cron if isinstance(trigger, Cron) else None),
        bigint(trigger.every_seconds if isinstance(trigger, Interval) else None),
        word(trigger.timezone),
        word(action.method),
        text(action.url),
        jsonb(action.headers),
        jsonb(action.payload),
        double(action.timeout_seconds),
        jsonb(definition.retry),
        _faithful(definition),
    )


def _faithful(definition: Definition) -> bytes:
    return verbatim(msgspec.json.encode(definition))


_NOWHERE = {"next_run": None, "fires_at": None}


class TaskChanges(Struct, frozen=True):
    """What a batch comes to: the last state of every task it is about, and the moves between statuses."""

    rows: dict[UUID, TaskRow]
    counts: StateCounts


def task_of(entry: Entry) -> UUID | None:
    """The task whose row a fact may change; None for a fact that changes none."""
    match entry.fact:
        case ExecutionSucceeded():
            return None
        case (
            ExecutionStarted(occurrence=occurrence)
            | ExecutionQueued(occurrence=occurrence)
            | ExecutionSkipped(occurrence=occurrence)
        ):
            # Runs that nobody planned have no place in the schedule, so they move none.
            return occurrence.task_id if occurrence.kind == "scheduled" else None
        case TaskCompleted() | TaskFailuresCounted() | TaskCreated() | TaskUpdated() | TaskCancelled():
            return entry.stream
        case TaskPaused() | TaskResumed() | TaskRedacted():
            return entry.stream
        case AttemptFailed() | AttemptStarted() | ExecutionTakenOver() | IdempotencyKeyUsed():
            return None
        case ExecutionRequested() | ExecutionFailed() | ExecutionCancelled():
            return None
        case EventsRedacted() as fact:
            return fact.task_id if _rewritten(fact) else None
        case _:
            raise unknown(entry)


def _rewritten(fact: EventsRedacted) -> bool:
    """Whether what the task itself says was rewritten, and not only what its executions do."""
    return any(event.stream == fact.task_id for event in fact.rewritten)


def fold(known: Mapping[UUID, TaskRow], entries: Iterable[Entry]) -> TaskChanges:
    """Apply a batch to the rows it continues. Raises `PoisonEvent`."""
    return _fold(known, _about(entries))


def _about(entries: Iterable[Entry]) -> list[tuple[UUID, Entry]]:
    return [(task_id, entry) for entry in entries if (task_id := task_of(entry)) is not None]


def _fold(known: Mapping[UUID, TaskRow], about: Iterable[tuple[UUID, Entry]]) -> TaskChanges:
    rows = {task_id.int: row for task_id, row in known.items()}  # a number is found in a third of the time
    counts: StateCounts = Counter()
    for task_id, entry in about:
        before = rows.get(task_id.int)
        after = evolve(before, entry)
        if after is not before:
            rows[task_id.int] = after
            count_change(counts, before, after)
    return TaskChanges({row.id: row for row in rows.values()}, counts)


def evolve(row: TaskRow | None, entry: Entry) -> TaskRow:
    """The row after a fact about its task; the same row when the fact changes nothing."""
    if isinstance(entry.fact, TaskCreated):
        return _created(entry, entry.fact)
    if row is None:
        raise beginning_missing(entry)
    match entry.fact:
        case ExecutionStarted() | ExecutionQueued() | ExecutionSkipped() as fact:
            return replace(row, **_place(fact), position=entry.position) if _moves(row, fact) else row
        case TaskUpdated() as fact:
            return _redefined(row, entry, fact)
        case TaskPaused(at=at, note=note):
            return _moved(row, entry, "paused", paused_at=at, resumed_at=None, pause_note=note)
        case TaskResumed(at=at):
            return _moved(row, entry, "scheduled", resumed_at=at)
        case TaskCancelled():
            return _moved(row, entry, "cancelled", **_NOWHERE)
        case TaskCompleted(outcome=outcome):
            return _moved(row, entry, "completed" if outcome == "succeeded" else "failed", **_NOWHERE)
        case TaskFailuresCounted():
            return replace(row, version=entry.version, position=entry.position)
        case TaskRedacted(at=at):
            return _moved(row, entry, row.status, redacted_at=at)
        case EventsRedacted():
            return _erased(row)
        case _:
            raise unknown(entry)


def _erased(row: TaskRow) -> TaskRow:
    definition = None if row.definition is None else erased_definition(row.definition)
    return replace(row, pause_note=erased_text(row.pause_note), definition=definition)


def _created(entry: Entry, fact: TaskCreated) -> TaskRow:
    return TaskRow(
        id=entry.stream,
        namespace=fact.namespace,
        status="scheduled",
        created_at=fact.at,
        updated_at=fact.at,
        next_run=fact.next_run_at,
        fires_at=fires_at(fact.definition.trigger, entry.stream, fact.next_run_at),
        runs=0,
        version=entry.version,
        position=entry.position,
        definition=fact.definition,
    )


def _redefined(row: TaskRow, entry: Entry, fact: TaskUpdated) -> TaskRow:
    kept = _moved(row, entry, row.status, definition=fact.definition)
    if fact.next_run_at is None:
        return kept
    fire_at = fires_at(fact.definition.trigger, row.id, fact.next_run_at)
    return replace(kept, next_run=fact.next_run_at, fires_at=fire_at, runs=fact.runs)


def _moves(row: TaskRow, fact: PlacingFact) -> bool:
    """Within one version a place only moves forward: what starts late out of a queue moves none."""
    if row.status != "scheduled" or row.version != fact.occurrence.task_version or row.next_run is None:
        return False
    return fact.next_run_at is None or fact.next_run_at > row.next_run


def _place(fact: PlacingFact) -> dict[str, Any]:
    return {
        "next_run": fact.next_run_at,
        "fires_at": fact.next_fire_at or fact.next_run_at,
        "runs": fact.occurrence.run,
    }


def _moved(row: TaskRow, entry: Entry, status: TaskStatus, **changes: Any) -> TaskRow:
    at = entry.fact.at  # type: ignore[attr-defined]  # every case that calls this holds a fact of the domain
    return replace(
        row, status=status, updated_at=at, version=entry.version, position=entry.position, **changes
    )


class Tasks:
    """The projection."""

    name: ClassVar[str] = "tasks"
    version: ClassVar[int] = 6
    tables: ClassVar[tuple[str, ...]] = ("task_definitions", "task_states", "task_counts")
    views: ClassVar[tuple[str, ...]] = ("tasks", "tasks_by_status")
    across: ClassVar[frozenset[type]] = frozenset(
        {*get_args(TaskFact.__value__), ExecutionStarted, ExecutionQueued, ExecutionSkipped, EventsRedacted}
    )

    @property
    def ddl(self) -> bytes:
        """See `Projection.ddl`."""
        return statement("tasks.ddl")

    @property
    def indexes(self) -> bytes:
        """See `Projection.indexes`."""
        return statement("tasks.indexes")

    def key(self, entry: Entry) -> UUID:
        """The task, for facts about its executions too."""
        match entry.fact:
            case (
                ExecutionStarted(occurrence=occurrence)
                | ExecutionQueued(occurrence=occurrence)
                | ExecutionSkipped(occurrence=occurrence)
            ):
                return occurrence.task_id
            case EventsRedacted(task_id=task_id):
                return task_id
            case _:
                return entry.stream

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        """See `Projection.apply`."""
        about = _about(entries)
        taken = await take_tasks(connection, _earlier(about))
        yield
        known = await with_definitions(connection, await taken.rows(), _redacted(about))
        changes = _fold(known, about)
        await put_tasks(connection, changes.rows.values(), stored=known)
        yield
        await write_counts(connection, "count_task_states", changes.counts)


def _redacted(about: Iterable[tuple[UUID, Entry]]) -> list[UUID]:
    return [task_id for task_id, entry in about if isinstance(entry.fact, EventsRedacted)]


def _earlier(about: Collection[tuple[UUID, Entry]]) -> list[UUID]:
    """The tasks that were created before this batch."""
    created = {entry.stream.int for _, entry in about if type(entry.fact) is TaskCreated}
    return list({task_id.int: task_id for task_id, _ in about if task_id.int not in created}.values())
