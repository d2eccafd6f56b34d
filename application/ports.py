"""What the application needs from the world, as protocols; `infrastructure/` makes them real."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol
from uuid import UUID

from msgspec import Raw, Struct

from domain.definition import Action, Definition
from domain.facts import AnyFact, Attempt
from domain.task import Pause, Task

if TYPE_CHECKING:
    from collections.abc import Set

    from domain.identity import Month


class Meta(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Who asked, in the course of what and by which command (`command_id` is unique to one append); of users'
    commands, from which IP `address` and for what `reason`, if that was told: None is not stored.
    """

    actor: str
    correlation_id: str
    command_id: UUID
    address: str | None = None
    reason: str | None = None


class NewFact(Struct, frozen=True, gc=False):
    """A fact at the place in its stream where it is meant to go (versions count from 1)."""

    stream: UUID
    version: int
    fact: AnyFact


class Guard(Struct, frozen=True, gc=False):
    """The version that must still be the head of a stream for a group to be accepted."""

    stream: UUID
    version: int


class Group(Struct, frozen=True, gc=False, kw_only=True):
    """What one command appends: all or nothing."""

    facts: tuple[NewFact, ...]
    guards: tuple[Guard, ...] = ()
    meta: Meta


class Undecodable(Struct, frozen=True, gc=False, kw_only=True):
    """An event of the log that this release cannot read: its topic, and why."""

    topic: str
    error: str


class Recorded(Struct, frozen=True, gc=False, kw_only=True):
    """A fact as the log holds it; `position` is its place in the one total order."""

    position: int
    stream: UUID
    version: int
    fact: AnyFact | Undecodable
    meta: Meta
    recorded_at: datetime


class Snapshot(Struct, frozen=True, gc=False):
    """A task as it stood after the event at a position."""

    position: int
    task: Task


class TaskHistory(Struct, frozen=True, gc=False):
    """A state of a task that was kept, if one was; and every fact of its stream behind that, in order."""

    snapshot: Snapshot | None
    events: Sequence[Recorded]


type Patience = Literal["prompt", "patient"]


type Answer = int | Exception | None
"""Of the log to one group of several: its last position; None: a stream or guard has moved on; or the error
that it alone is refused with, as one that cannot be stored."""


class LogUnavailable(Exception):
    """The database does not answer; nothing is known to be stored. Try again shortly."""


class LogFull(LogUnavailable):
    """The log takes no more at present: too much waits to be appended. Nothing was stored; try again."""


class Unreadable(LogUnavailable):
    """The log holds an event that this release cannot read; run the release that wrote it, or a later one.

    Asking again does not help: deciding without the event would be wrong, whoever asks.
    """

    def __init__(self, position: int, error: str) -> None:
        super().__init__(f"event {position} cannot be read: {error}")
        self.position = position


class EventLog(Protocol):
    """The append-only log."""

    def append(self, group: Group, *, patience: Patience = "prompt") -> Awaitable[int | None]:
        """Append and answer the group's last position; None when a stream or guard has moved on.

        `prompt` raises `LogUnavailable` when the log stays away for some seconds (it may still hold the group
        then), and `LogFull` (it does not hold it) where what waits is bounded; `patient` waits through any
        outage.
        """
        ...

    def append_all(
        self, groups: Sequence[Group], *, patience: Patience = "prompt"
    ) -> Awaitable[Sequence[Answer]]:
        """Append each of several groups as `append` does, and answer all of them together, in their order.

        After `LogUnavailable` the log may hold any of them.
        """
        ...

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """Every fact of a stream in order; empty when there is none. Raises `LogUnavailable`."""
        ...

    async def read_after(self, position: int, limit: int) -> Sequence[Recorded]:
        """Up to `limit` facts after a position, in order. Raises `LogUnavailable`."""
        ...

    async def read_task(self, task_id: UUID) -> TaskHistory:
        """What has to be read to know how a task stands. Raises `LogUnavailable`."""
        ...

    async def keep(self, snapshot: Snapshot) -> None:
        """Have `read_task` begin with a snapshot, unless it has a later one, or the task is being redacted.

        Raises `LogUnavailable`.
        """
        ...


class Follower(Protocol):
    """Tells, in order and without gaps, what is appended."""

    def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """Every fact after `position`, in batches, for ever; waits through outages by itself."""
        ...


class DueTask(Struct, frozen=True, gc=False, kw_only=True):
    """A task and the instant where it is due next, after so many `runs`; `pause` is its last one, if over.

    `fire_at` is when the call of that occurrence is to be sent, None: at `due_at`.
    """

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    pause: Pause | None = None
    runs: int = 0
    fire_at: datetime | None = None


class Unfinished(Struct, frozen=True, gc=False, kw_only=True):
    """An execution that is not over: claimed by `node` until `lease_until`, or waiting for `retry_at`.

    `node` None: a user has requested it, and nobody has claimed it yet. What is queued is none of these.
    """

    execution_id: UUID
    node: str | None
    lease_until: datetime | None
    retry_at: datetime | None


type SchedulePosition = tuple[datetime, UUID]
"""Where a task stands in the order in which calls are to be sent; the id tells tasks of one instant apart."""


class Open(Struct, frozen=True, gc=False):
    """A scheduled occurrence that is not over: started, or still `queued` behind one that is."""

    task_id: UUID
    execution_id: UUID
    queued: bool


class DueTasks(Protocol):
    """The scheduler's view of the read models. Every method raises `LogUnavailable`."""

    async def page(
        self, after: SchedulePosition | None, until: datetime, limit: int
    ) -> tuple[int, Sequence[DueTask]]:
        """Up to `limit` tasks to fire after a place and up to `until`, in order; the log position of that."""
        ...

    async def place(self, task_id: UUID) -> tuple[int, DueTask | None]:
        """Where one task stands, None when it is not due at any time; the log position as in `page`."""
        ...

    async def open_runs(self) -> tuple[int, Sequence[Open]]:
        """Every scheduled occurrence that is not over: started ones, oldest first, then queued ones in the
        order of the log; and the log position as in `page`.
        """
        ...

    async def unfinished(self, limit: int) -> Sequence[Unfinished]:
        """Executions not over, those waiting longest first: up to `limit` claimed, and as many requested."""
        ...


class HeartbeatPayload(Struct, frozen=True, gc=False, kw_only=True):
    """What a scheduler says of itself with each beat.

    `claims`: others should leave its share to it; `position`: how far it has followed the log; `share`: the
    part of what is due soon that it owns, 0 to 1, by a sample; a positive offset is a clock ahead.
    """

    claims: bool
    clock_right: bool
    clock_offset_ms: int
    share: float
    in_flight: int
    entries: int
    position: int


class Beat(Struct, frozen=True, gc=False):
    """When a node has beaten last and how long ago, both by the database's clock; whether it claims."""

    at: datetime
    age: timedelta
    claims: bool


class Nodes(Protocol):
    """Who is alive. Every method raises `LogUnavailable`."""

    async def beat(self, node: str, payload: HeartbeatPayload | None = None) -> datetime:
        """Say that a node is alive; the database's clock at that moment."""
        ...

    async def beats(self) -> Mapping[str, Beat]:
        """The last beat of every node that has not left."""
        ...

    async def leave(self, node: str) -> None:
        """Say that a node is gone for good, so that what it left is taken over at once."""
        ...


class Cancellable(Protocol):
    """What is going to be called."""

    def cancel(self) -> object:
        """Call it not any more; twice, or too late, does no harm."""
        ...


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> datetime:
        """The current instant, UTC, to the microsecond."""
        ...

    def sleep_until(self, instant: datetime) -> Awaitable[None]:
        """Return at the instant, within a fraction of a millisecond, never before it.

        Sleepers follow the wall clock when it is set.
        """
        ...

    def call_at(self, instant: datetime, callback: Callable[[], None]) -> Cancellable:
        """Call back in a turn of the event loop to come, at the instant as `sleep_until` has it.

        A clock that is set back may call before it: whoever minds looks at `now`.
        """
        ...

    def steady(self) -> timedelta:
        """Time since some fixed moment, which no setting of the wall clock changes."""
        ...

    async def pause(self, duration: timedelta) -> None:
        """Return after a duration, whatever happens to the wall clock meanwhile."""
        ...


class Archived(Protocol):
    """Which months of executions have left the log."""

    async def months(self) -> Set[Month]:
        """Those of which nothing is recorded any more. Raises `LogUnavailable`."""
        ...


class ArchiveAway(LogUnavailable):
    """Events that are asked for lie in an archive that cannot be read; put its file back, or restore it.

    Asking again does not help before: telling less than there is would be wrong, whoever asks.
    """

    def __init__(self, name: str, complaint: str, wanted: str = "the file back") -> None:
        """`wanted` is what has to be put where archives are."""
        super().__init__(
            f"the archive {name} is needed and cannot be read ({complaint}); put {wanted} to where "
            "ARCHIVE_DIR says"
        )
        self.name = name


class Call(Struct, frozen=True, gc=False, kw_only=True):
    """One attempt to make, of an occurrence that was nominally due at `due_at`.

    `once`: no doubt about a first request ever justifies a second one, not even for a broken connection.
    """

    action: Action
    execution_id: UUID
    number: int
    due_at: datetime
    once: bool = False


class ResourcesExhausted(Exception):
    """This machine has no descriptor, port or memory left for another connection; nothing was sent."""

    def __init__(self, number: int) -> None:
        """`number` is the system's `errno`."""
        super().__init__(os.strerror(number).lower())
        self.errno = number


class Exchange(Protocol):
    """One attempt: ready to be sent, then under way, then over."""

    def begin(self, over: Callable[[], None]) -> None:
        """Send the action's request, once; `over` is called when it is over, and not before this returns."""
        ...

    def cancel(self) -> None:
        """Break off what is under way, and close its connection; otherwise that does nothing."""
        ...

    def attempt(self) -> Attempt | None:
        """What happened, once it is over; None: it was cancelled. Raises nothing."""
        ...

    @property
    def exhausted(self) -> ResourcesExhausted | None:
        """Once it is over: what this machine lacked, if that alone kept the request from being sent.

        It may then begin again. `attempt` tells of a failure that was not sent.
        """
        ...


class HttpCaller(Protocol):
    """Makes attempts."""

    def exchange(self, call: Call) -> Exchange:
        """Make one ready. Raises nothing: what cannot be sent brings an attempt that says so."""
        ...


class LoggedEvent(Struct, frozen=True, gc=False, kw_only=True):
    """An event as the log holds it, whether or not this release knows its topic.

    `data` is the stored JSON of its fact, None: what is stored is no such thing. `namespace` is that of its
    stream, None: the stream's first event does not tell it. `redacted`: parts of it were erased. The rest is
    `application.ports.Meta`.
    """

    position: int
    recorded_at: datetime
    stream: UUID
    version: int
    topic: str
    namespace: str | None
    actor: str
    correlation_id: str
    address: str | None
    reason: str | None
    redacted: bool
    data: Raw | None


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events; None lets all through. Instants are those of `recorded_at`, UTC.

    `topic` is how the topic begins; `task_id` lets through the task's own stream and what names the task, as
    its executions do; `recorded_from` is included, `recorded_to` is not.
    """

    topic: str | None = None
    task_id: UUID | None = None
    namespace: str | None = None
    actor: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None


class EventPage(Struct, frozen=True, kw_only=True):
    """Some events in their order; the next page begins after `next_after`.

    `more`: there is something to look at behind that by now, though it may not match.
    """

    items: Sequence[LoggedEvent]
    next_after: int
    more: bool


class Origin(Struct, frozen=True, kw_only=True):
    """What a stream is about, by its first event."""

    kind: Literal["task", "execution", "other"]
    namespace: str | None
