"""Simulations: the question that is sent, the answer that tells both accounts, and what differs."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal, Protocol, Self
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from application.past import NotYet
from application.what_if import comparison as books
from application.what_if.comparison import Account, Accounts, Side
from application.what_if.question import (
    FARTHEST,
    LONGEST_WINDOW,
    MOST_TASKS,
    Question,
    Redefine,
    Subject,
    Window,
)
from application.what_if.simulator import Simulator
from domain.definition import Definition
from domain.errors import FieldError, InvalidBody, ValidationFailed, instant, shown
from domain.retry import looks_at_bodies
from domain.schedule import changes_between
from domain.validation import validate
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.bodies import TRIGGERS, WITH_OFFSET, TaskDefinition
from interfaces.http.body_errors import JsonBody, read_task
from interfaces.http.parameters import NAMESPACE, Freshness, Injected
from interfaces.http.problems import (
    BODY_TOO_LARGE,
    INVALID_BODY,
    MALFORMED_JSON,
    TASK_NOT_FOUND,
    TOO_MUCH_TO_SIMULATE,
    UNSUPPORTED_MEDIA_TYPE,
)
from interfaces.http.schedule import ClockChange
from projections.views import Listing, Paging, TaskQuery, TaskView

FIRST = datetime(1970, 1, 2, tzinfo=UTC)
MOST_DIFFERENCES = 1_000
LONGEST_DURATION_MS = 86_400_000

Instant = Annotated[
    datetime,
    Meta(
        tz=True,
        description="An instant by ISO 8601 with its offset.",
        examples=["2026-01-01T00:00:00Z"],
        extra_json_schema=WITH_OFFSET,
    ),
]


class PastSpan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A window of the past, at most 31 days."""

    from_: Annotated[Instant, Meta(description="The first instant, ISO 8601 with its offset.")]
    to: Annotated[
        Instant | UnsetType,
        Meta(description="The first instant that does not count any more; now when left out."),
    ] = UNSET


class FutureSpan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A window of the future, at most 31 days."""

    from_: Annotated[
        Instant | UnsetType,
        Meta(description="The first instant, ISO 8601 with its offset; now when left out."),
    ] = UNSET
    to: Annotated[
        Instant,
        Meta(description="The first instant that does not count any more, at most 366 days from now."),
    ]


class TaskFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter of tasks, like that of the list of tasks."""

    status: Literal["scheduled", "paused", "completed", "failed", "cancelled"] | None = None
    trigger_type: Literal["one-off", "cron", "interval"] | None = None
    name: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")] | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None

    def query(self) -> TaskQuery:
        """The filters of the read model."""
        return TaskQuery(
            namespace=NAMESPACE,
            status=self.status,
            trigger_type=self.trigger_type,
            name=self.name,
            created_from=self.created_from,
            created_to=self.created_to,
        )


class SimulationRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Tasks and their definitions to simulate, over a window of the past, of the future, or both."""

    task_id: Annotated[UUID | None, Meta(description="One task; with `definition` or `change`.")] = None
    filter: Annotated[
        TaskFilter | None, Meta(description="At most 200 tasks, chosen as the list does; with `change`.")
    ] = None
    definition: Annotated[
        TaskDefinition | None,
        Meta(description="What the task is to be; without `task_id`, a task that there is not yet."),
    ] = None
    change: Annotated[
        dict[str, Any] | None,
        Meta(
            description="A JSON merge patch (RFC 7396) of the definition of each task; `{}` changes nothing. "
            "A trigger of another `type` is left without what that type does not have.",
            examples=[{"overlap": {"mode": "queue_one"}}],
        ),
    ] = None
    past: PastSpan | None = None
    future: FutureSpan | None = None
    limit: Annotated[
        int, Meta(ge=0, le=MOST_DIFFERENCES, description="Differences told of each window: 0 to 1,000.")
    ] = 200
    duration_ms: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=LONGEST_DURATION_MS,
                description="How long calls take of which nothing is recorded, 0 to 86,400,000; as long as "
                "the task's others usually, else a second, when left out.",
            ),
        ]
        | None
    ) = None

    @property
    def duration(self) -> timedelta | None:
        """The duration of calls of which nothing is recorded, if it is given."""
        return None if self.duration_ms is None else timedelta(milliseconds=self.duration_ms)

    def windows(self, now: datetime) -> tuple[Window | None, Window | None]:
        """That of the past, and that of the future. Raises `InvalidBody`."""
        if self.past is None and self.future is None:
            raise InvalidBody([FieldError(pointer="", detail="Give `past`, `future`, or both.")])
        past = None if self.past is None else _window("past", self.past, now)
        future = None if self.future is None else _window("future", self.future, now)
        return past, future


def _window(name: str, span: PastSpan | FutureSpan, now: datetime) -> Window:
    start = now if span.from_ is UNSET else _in_utc(f"/{name}/from", span.from_)
    end = now if span.to is UNSET else _in_utc(f"/{name}/to", span.to)
    judged = _past_errors if isinstance(span, PastSpan) else _future_errors
    errors = judged(start, end, now)
    if not errors and end <= start:
        detail = f"{instant(end)} is not after `from` ({instant(start)}): give a later instant."
        errors = [FieldError(pointer=f"/{name}/to", detail=detail)]
    elif not errors and end - start > LONGEST_WINDOW:
        wide = f"The window is {(end - start).days} days wide: give at most {LONGEST_WINDOW.days} days."
        errors = [FieldError(pointer=f"/{name}/{'from' if span.to is UNSET else 'to'}", detail=wide)]
    if errors:
        raise InvalidBody(errors)
    return Window(start, end)


def _in_utc(place: str, given: datetime) -> datetime:
    try:
        return given.astimezone(UTC)
    except OverflowError:
        detail = f"{given.isoformat()} is outside of the years 1 to 9999 in UTC: give another instant."
        raise InvalidBody([FieldError(pointer=place, detail=detail)]) from None


def _past_errors(start: datetime, end: datetime, now: datetime) -> list[FieldError]:
    errors = []
    if start >= now:
        detail = f"{instant(start)} is in the future: give an instant before now."
        errors.append(FieldError(pointer="/past/from", detail=detail))
    elif start < FIRST:
        detail = f"{instant(start)} is before 1970: give a later instant."
        errors.append(FieldError(pointer="/past/from", detail=detail))
    if end > now:
        detail = f"{instant(end)} is in the future: give an instant up to now, or leave it out."
        errors.append(FieldError(pointer="/past/to", detail=detail))
    return errors


def _future_errors(start: datetime, end: datetime, now: datetime) -> list[FieldError]:
    errors = []
    if start < now:
        detail = f"{instant(start)} has passed: give a later instant, or leave it out for now."
        errors.append(FieldError(pointer="/future/from", detail=detail))
    if end > now + FARTHEST:
        detail = f"{instant(end)} is too far ahead: give one within {FARTHEST.days} days."
        errors.append(FieldError(pointer="/future/to", detail=detail))
    return errors


TOO_DEEP = "It is nested too deeply: give objects and arrays with fewer levels."


class Tasks(Protocol):
    """The list of tasks."""

    async def tasks(self, query: TaskQuery, paging: Paging, /) -> Listing[TaskView]:
        """One page of tasks."""
        ...


class Simulated(Struct, frozen=True):
    """Both windows, each where it was asked for."""

    past: Accounts | None
    future: Accounts | None


async def simulate(
    asked: SimulationRequest, tasks: Tasks, simulator: Simulator, now: datetime, default_timezone: str
) -> Simulated:
    """The answer. Raises `InvalidBody`, and what the simulator and the list raise."""
    past, future = windows(asked, now)
    question = Question(
        namespace=NAMESPACE,
        subjects=await _subjects(asked, tasks, default_timezone),
        limit=asked.limit,
        duration=asked.duration,
    )
    return Simulated(
        past=None if past is None else await simulator.past(question, past),
        future=None if future is None else await simulator.future(question, future),
    )


def windows(asked: SimulationRequest, now: datetime) -> tuple[Window | None, Window | None]:
    """That of the past, and that of the future. Raises `InvalidBody`, which tells of other members, too."""
    misfits = tuple(_misfits(asked))
    try:
        found = asked.windows(now)
    except InvalidBody as error:
        raise InvalidBody([*error.errors, *misfits]) from None
    if misfits:
        raise InvalidBody(misfits)
    return found


async def _subjects(asked: SimulationRequest, tasks: Tasks, default_timezone: str) -> tuple[Subject, ...]:
    if asked.definition is not None:
        return (_replaced(asked.task_id, asked.definition.to_domain(default_timezone)),)
    change = asked.change or {}
    redefine, bodies = _patched(change), "success" in change
    if asked.task_id is not None:
        return (Subject(asked.task_id, redefine, bodies),)
    assert asked.filter is not None, "it says which tasks"
    found = await tasks.tasks(asked.filter.query(), Paging(limit=MOST_TASKS))
    if found.total > MOST_TASKS:
        detail = f"{found.total:,} tasks match: narrow the filter to at most {MOST_TASKS}."
        raise InvalidBody([FieldError(pointer="/filter", detail=detail)])
    if not found.items:
        raise InvalidBody([FieldError(pointer="/filter", detail="No task matches: widen the filter.")])
    return tuple(Subject(view.id, redefine, bodies) for view in found.items)


def _misfits(asked: SimulationRequest) -> Iterator[FieldError]:
    """The first of the members that is missing, or does not go with another."""
    wrong: tuple[str, str] | None = None
    if asked.filter is not None and asked.task_id is not None:
        wrong = "/filter", "Give either this or `task_id`, not both."
    elif asked.filter is not None and asked.definition is not None:
        wrong = "/definition", "Many tasks cannot all be one: give `change` with `filter`."
    elif asked.definition is not None and asked.change is not None:
        wrong = "/change", "Give either this or `definition`, not both."
    elif asked.definition is None and asked.change is None:
        wrong = "", "Give `definition` (with `task_id`: instead of its own), or `change`."
    elif asked.change is not None and asked.task_id is None and asked.filter is None:
        wrong = "/change", "Say of which tasks: give `task_id` or `filter`."
    if wrong is not None:
        yield FieldError(pointer=wrong[0], detail=wrong[1])


def _replaced(task_id: UUID | None, definition: Definition) -> Subject:
    """Whatever the definition was. What it returns raises `InvalidBody`."""

    def redefine(old: Definition | None, at: datetime) -> Definition:
        current = None if old is None else old.trigger
        return _within("/definition", lambda: validate(definition, at, current=current))

    return Subject(task_id, redefine, looks_at_bodies(definition.success))


def _patched(change: dict[str, Any]) -> Redefine:
    """The definition with a JSON merge patch (RFC 7396). What it returns raises `InvalidBody`."""

    def redefine(old: Definition | None, at: datetime) -> Definition:
        assert old is not None, "what is patched is there"
        if not change:
            return old

        def patched() -> Definition:
            try:
                body = msgspec.json.encode(merged(_kept(old, change), change))
            except RecursionError:
                raise ValidationFailed([FieldError(pointer="", detail=TOO_DEEP)]) from None
            return validate(read_task(body).to_domain("UTC"), at, current=old.trigger)

        return _within("/change", patched, f" (Task {shown(old.name)}.)")

    return redefine


def _kept(old: Definition, change: dict[str, Any]) -> dict[str, Any]:
    """The definition that a change begins with: of another type, a trigger loses what that type lacks."""
    kept: dict[str, Any] = msgspec.to_builtins(old)
    trigger = change.get("trigger")
    kind = trigger.get("type") if isinstance(trigger, dict) else None
    if isinstance(kind, str) and kind in TRIGGERS:
        known = {"type", *TRIGGERS[kind].__struct_encode_fields__}
        kept["trigger"] = {name: value for name, value in kept["trigger"].items() if name in known}
    return kept


def merged(target: Any, patch: Any) -> Any:
    """A value after a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    members = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            members.pop(name, None)
        else:
            members[name] = merged(members.get(name), value)
    return members


def _within(place: str, decide: Callable[[], Definition], besides: str = "") -> Definition:
    """Move the errors of a definition to its place in the whole body."""
    try:
        return decide()
    except ValidationFailed as error:
        errors = [
            FieldError(pointer=place + each.pointer, detail=each.detail + besides) for each in error.errors
        ]
        raise InvalidBody(errors) from None


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
    """Numbers of occurrences of a window, by outcome."""

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
    """The number of calls that are sent, and the ten busiest minutes, the busiest first."""

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
    """A simulated window, before and after the change."""

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
    """The simulated windows of past and future; null: it was not asked for."""

    past: SimulatedWindow | None
    future: SimulatedWindow | None

    @classmethod
    def of(cls, simulated: Simulated) -> Self:
        """An answer as it is shown."""
        past = None if simulated.past is None else _simulated(simulated.past)
        future = None if simulated.future is None else _simulated(simulated.future)
        return cls(past=past, future=future)


def _simulated(found: Accounts) -> SimulatedWindow:
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
    """Simulate what would have happened, or will, if tasks were defined otherwise."""
    now = datetime.now(UTC)
    past, _ = windows(data, now)
    try:
        if past is not None:
            await api.reach((await api.parts.past.at(past.end - SETTLING)).position)
        await api.reach(freshness.min_position)
        found = await simulate(
            data, api.parts.queries, api.parts.simulator, now, api.options.default_timezone
        )
    except NotYet as error:
        detail = f"It lies in the future, for {error}: give an earlier instant."
        raise InvalidBody([FieldError(pointer="/past/to", detail=detail)]) from None
    return await asyncio.to_thread(SimulationAnswer.of, found)
