"""Group commit: whatever queued while the last append ran goes into the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import lru_cache
from struct import Struct
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format

from application.ports import Answer, Group, LogFull, LogUnavailable, Patience, Recorded
from infrastructure.event_store.mapper import encode
from infrastructure.postgres import AWAY, TOO_LARGE, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set, Sized
    from datetime import datetime

    from psycopg.adapt import AdaptersMap

_head = Struct(">iiIii").pack
_length = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_UUID_LENGTH = _length(16)


class Array(bytes):
    """An array that is ready to be sent; its class says of what."""

    element: ClassVar[int]
    oid: ClassVar[int]


class Integers(Array):
    """An `int4[]`."""

    element, oid = 23, 1007


class BigIntegers(Array):
    """An `int8[]`."""

    element, oid = 20, 1016


class Uuids(Array):
    """A `uuid[]`."""

    element, oid = 2950, 2951


class Texts(Array):
    """A `text[]`."""

    element, oid = 25, 1009


class Blobs(Array):
    """A `bytea[]`."""

    element, oid = 17, 1001


def integers(values: Sequence[int]) -> Integers:
    """Each within 32 bits."""
    return _array(Integers, len(values), [_int4(4, value) for value in values])


def big_integers(values: Sequence[int]) -> BigIntegers:
    """Each within 64 bits."""
    return _array(BigIntegers, len(values), [_int8(8, value) for value in values])


def uuids(values: Sequence[UUID]) -> Uuids:
    """Any UUIDs."""
    return _array(Uuids, len(values), [_UUID_LENGTH + value.int.to_bytes(16) for value in values])


def texts(values: Sequence[str]) -> Texts:
    """Few different ones: each is encoded once."""
    return _array(Texts, len(values), map(_text, values))


def blobs(values: Sequence[bytes]) -> Blobs:
    """Any bytes."""
    return _array(Blobs, len(values), [_length(len(value)) + value for value in values])


def register(adapters: AdaptersMap) -> None:
    """Let a connection send such arrays."""
    for kind in (Integers, BigIntegers, Uuids, Texts, Blobs):
        adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid}))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj


def _array[A: Array](kind: type[A], count: int, elements: Iterable[bytes]) -> A:
    dimensions = 1 if count else 0
    head = _head(dimensions, 0, kind.element, count, 1)[: 20 if dimensions else 12]
    return kind(b"".join([head, *elements]))


@lru_cache(maxsize=256)
def _text(value: str) -> bytes:
    encoded = value.encode()
    return _length(len(encoded)) + encoded


# As stored: who follows further behind than this reads from the log.
MAX_OWN_BYTES = 16 * 1024 * 1024
# An append that takes longer than this is not waited for.
ANSWER_SECONDS = 0.02


class OwnEvents:
    """Runs of events that lie side by side in the log, oldest first; each is told once, in its turn."""

    def __init__(self, max_bytes: int = MAX_OWN_BYTES) -> None:
        """`max_bytes` 0: nobody follows."""
        self._max_bytes = max_bytes
        self._runs: deque[tuple[Sequence[Recorded], int]] = deque()
        self._bytes = 0
        self._asked: asyncio.Future[None] | None = None

    def ask(self) -> asyncio.Future[None]:
        """A call of the database begins; it is done with when the future is."""
        self._asked = asyncio.get_running_loop().create_future()
        return self._asked

    async def answered(self) -> None:
        """Wait for the answer to the call that is under way: a notification may overtake it, but hardly."""
        if self._asked is not None and not self._asked.done():
            await asyncio.wait([self._asked], timeout=ANSWER_SECONDS)

    def add(self, first_position: int, recorded_at: datetime, groups: Iterable[Group], size: int) -> None:
        """One call has stored these groups, in `size` bytes, from a position on without a gap."""
        if self._bytes + size > self._max_bytes:
            self.forget()
            return
        facts = [(new, group.meta) for group in groups for new in group.facts]
        run = [
            Recorded(
                position=position,
                stream=new.stream,
                version=new.version,
                fact=new.fact,
                meta=meta,
                recorded_at=recorded_at,
            )
            for position, (new, meta) in enumerate(facts, start=first_position)
        ]
        self._runs.append((run, size))
        self._bytes += size

    def forget(self) -> None:
        """Nothing is known any more: the database may be another one now, which never had all of it."""
        self._runs.clear()
        self._bytes = 0

    def take(self, position: int) -> Sequence[Recorded]:
        """All that is known to lie right behind a position; what lies before it is forgotten."""
        taken: list[Recorded] = []
        while self._runs and self._runs[0][0][0].position <= position + 1:
            run, size = self._runs.popleft()
            self._bytes -= size
            if run[0].position == position + 1:
                taken += run
                position = run[-1].position
        return taken


MAX_EVENTS = 1_000
MAX_APPEND_BYTES = 8 * 1024 * 1024


class Answers:
    """What becomes of groups that were handed over together; their caller awaits all of it in `future`."""

    __slots__ = ("_given", "_missing", "future")

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._given: list[Answer] = [None] * count
        self._missing = count

    def give(self, place: int, answer: Answer) -> None:
        """Answer one of them; the caller may have left."""
        self._given[place] = answer
        self._missing -= 1
        if self._missing == 0 and not self.future.done():
            self.future.set_result(self._given)

    def refuse(self, error: Exception) -> None:
        """Answer all of them by an exception, unless the caller has left."""
        if not self.future.done():
            self.future.set_exception(error)


class Pending:
    """A group, at its place among those that `answers` is about.

    `tried`: an earlier call with it was not answered. `alone`: it goes into a call of its own, because the
    database refused a call that held it. Streams are named by their numbers, which are quicker to compare.
    """

    __slots__ = (
        "_answered",
        "_answers",
        "_place",
        "alone",
        "group",
        "size",
        "states",
        "streams",
        "touched",
        "tried",
    )

    def __init__(self, group: Group, answers: Answers, place: int) -> None:
        self.group = group
        self._answers = answers
        self._place = place
        self._answered = False
        self.states = [encode(new.fact, group.meta) for new in group.facts]
        self.size = sum(map(len, self.states))
        self.streams = {new.stream.int for new in group.facts}
        guarded = [guard.stream.int for guard in group.guards]
        self.touched = self.streams.union(guarded) if guarded else self.streams
        self.tried = False
        self.alone = False

    @property
    def over(self) -> bool:
        """Whether it is answered, or nobody waits for that any more."""
        return self._answered or self._answers.future.done()

    def answer(self, answer: Answer) -> None:
        """Tell the caller what becomes of it, once: its last position; None when the log refuses it."""
        if not self._answered:
            self._answered = True
            self._answers.give(self._place, answer)

    def refuse(self, error: Exception) -> None:
        """Answer it, and all that were handed over with it, by an exception."""
        self._answers.refuse(error)


class Room(NamedTuple):
    """The most that may wait to be appended: groups, and bytes of their events."""

    groups: int
    size: int


API_ROOM = Room(groups=4_096, size=64 * 1024 * 1024)
"""Of the process that takes commands: seconds of work for a database that answers."""


class Queue:
    """What waits, in the order in which it came."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pending: Sequence[Pending]) -> None:
        """Put them last."""
        self._waiting.extend(pending)
        self._bytes += sum(map(_size, pending))

    def holds(self, pending: Sequence[Pending], room: Room) -> bool:
        """Whether there is room for these as well; an empty queue has room for anything."""
        # What waits longest is given up first.
        while self._waiting and self._waiting[0].over:
            self._pop()
        if not self._waiting:
            return True
        size = self._bytes + sum(map(_size, pending))
        return len(self._waiting) + len(pending) <= room.groups and size <= room.size

    def put_back(self, batch: list[Pending]) -> None:
        """Put what `take` gave first again, in its order."""
        self._waiting.extendleft(reversed(batch))
        self._bytes += sum(map(_size, batch))

    def _pop(self) -> Pending:
        pending = self._waiting.popleft()
        self._bytes -= pending.size
        return pending

    def take(self) -> list[Pending]:
        """The next groups in order; one that meets a stream of an earlier one waits for the next call."""
        batch: list[Pending] = []
        later: list[Pending] = []
        written: set[int] = set()
        touched: set[int] = set()
        room, space = MAX_EVENTS, MAX_APPEND_BYTES
        # A long run of groups on one stream is not searched to its end for every one of them.
        while self._waiting and room > 0 and space > 0 and len(later) < MAX_EVENTS:
            pending = self._pop()
            if pending.over:
                continue
            if pending.alone and batch:
                later.append(pending)
                break
            if pending.streams.isdisjoint(touched) and pending.touched.isdisjoint(written):
                batch.append(pending)
                room -= len(pending.group.facts)
                space -= pending.size
            else:
                later.append(pending)
            if pending.alone:
                break
            # What waits holds its streams too: groups on one stream are appended in the order they came.
            written |= pending.streams
            touched |= pending.touched
        self.put_back(later)
        return batch

    def fail_all(self, error: Exception) -> None:
        """Refuse everything that waits."""
        while self._waiting:
            self._pop().refuse(error)


def _size(pending: Pending) -> int:
    return pending.size


APPEND = (
    b"SELECT refused, first_position, recorded FROM append_groups("
    b"%s::int[], %s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::int[], %s::uuid[], %s::bigint[])"
)
OWN_EVENT = (
    b"SELECT max(event.notification_id) FROM events AS event "
    b"JOIN unnest(%s::uuid[], %s::bigint[], %s::bytea[]) AS mine (stream, version, state) "
    b"ON event.originator_id = mine.stream AND event.originator_version = mine.version "
    b"AND event.state = mine.state HAVING count(*) = %s"
)
# The lock comes before the probes' snapshot only in READ COMMITTED, whatever a database's default is.
READ_COMMITTED = "SET default_transaction_isolation TO 'read committed'"
PROMPT_SECONDS = 4.0
STATEMENT_SECONDS = 20.0
# From so many events on, an append is put together in several turns of the event loop.
MANY_EVENTS = 100
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)

log = structlog.get_logger(__name__)


class AppendObserver(Protocol):
    """Hears about every append: for metrics."""

    def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
        """One call of the database: its groups and how long it took."""

    def unavailable(self) -> None:
        """One call that the database did not answer."""


class Appender:
    """Appends groups of events through one connection, many groups a call.

    A connection lost in the middle leaves it open whether the call was committed: the same groups are then
    appended again, and a group that is refused the second time is recognised by its own stored bytes, which
    hold the command's id.
    """

    def __init__(
        self,
        dsn: str,
        observer: AppendObserver | None = None,
        own: OwnEvents | None = None,
        room: Room | None = None,
    ) -> None:
        """`own` is told what has been appended; without `room` anything may wait."""
        self._dsn = dsn
        self._observer = observer
        self._own = own or OwnEvents(max_bytes=0)
        self._room = room
        self._queue = Queue()
        self._wake = asyncio.Event()
        self._connection: AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._outage = False
        self._failures = 0
        self._stopped = False

    async def __aenter__(self) -> Appender:
        self._task = asyncio.create_task(self._run(), name="appender")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what is still queued, and what comes later, is refused as unavailable."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()
        self._queue.fail_all(LogUnavailable("the service is stopping"))

    async def append_all(self, groups: Sequence[Group], *, patience: Patience = "prompt") -> Sequence[Answer]:
        """See `application.ports.EventLog.append_all`."""
        if self._stopped:
            raise LogUnavailable("the service is stopping")
        if not groups:
            return []
        answers = Answers(len(groups))
        pending = [made for place, group in enumerate(groups) if (made := _pending(group, answers, place))]
        if patience == "prompt" and self._room and not self._queue.holds(pending, self._room):
            raise LogFull("the log takes no more at present: too much waits to be appended")
        self._queue.add(pending)
        self._wake.set()
        if patience != "prompt":
            return await answers.future
        # The queue drops what nobody waits for any more: what was given up here, or by a caller who left.
        giving_up = asyncio.get_running_loop().call_later(PROMPT_SECONDS, _give_up, answers)
        try:
            return await answers.future
        finally:
            giving_up.cancel()

    async def append(self, group: Group, *, patience: Patience = "prompt") -> int | None:
        """See `application.ports.EventLog.append`."""
        [answer] = await self.append_all([group], patience=patience)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._queue.take():
                await self._commit(batch)

    async def _commit(self, batch: list[Pending]) -> None:
        try:
            await self._call(batch)
        except TOO_LARGE as error:
            self._isolate(batch, error)
        except AWAY as error:
            await self._suspend(batch, error)
        except asyncio.CancelledError:
            self._queue.put_back(batch)
            raise
        except Exception as error:  # whatever one group does, the appender lives on for the others
            self._isolate(batch, error)

    async def _call(self, batch: list[Pending]) -> None:
        started = perf_counter()
        async with asyncio.timeout(STATEMENT_SECONDS):
            connection = await self._connected()
            retried = [pending for pending in batch if pending.tried]
            for pending in batch:
                pending.tried = True
            accepted = await self._append(connection, batch)
            if doubtful := [pending for pending in retried if pending not in accepted]:
                accepted |= await _own_positions(connection, doubtful)
        for pending in batch:
            pending.answer(accepted.get(pending))
        self._observe(batch, accepted, perf_counter() - started)

    async def _append(self, connection: AsyncConnection, batch: list[Pending]) -> dict[Pending, int]:
        """The last position of each accepted group."""
        asked = self._own.ask()
        try:
            cursor = await connection.execute(APPEND, await _arguments(batch), binary=True)
            row = await cursor.fetchone()
            assert row is not None, "a function answers"
            refused, first_position, recorded_at = row
            accepted = _positions(batch, set(refused), first_position)
            if first_position is not None:
                size = sum([pending.size for pending in accepted])
                self._own.add(first_position, recorded_at, [one.group for one in accepted], size)
        finally:
            asked.cancel()
        return accepted

    def _observe(self, batch: Sequence[Pending], accepted: Sized, seconds: float) -> None:
        self._failures = 0
        if self._outage:
            self._outage = False
            log.info("event log answers again")
        if self._observer is not None:
            self._observer.appended(
                accepted=len(accepted),
                refused=len(batch) - len(accepted),
                events=sum([len(pending.group.facts) for pending in batch]),
                seconds=seconds,
            )

    async def _suspend(self, batch: list[Pending], error: Exception) -> None:
        """Put the batch back and come again with a new connection, a little later."""
        if not self._outage:
            self._outage = True
            log.warning("event log is away", error=first_line(error))
        if self._observer is not None:
            self._observer.unavailable()
        self._queue.put_back(batch)
        await self._disconnect()
        await asyncio.sleep(self._backoff())

    def _backoff(self) -> float:
        self._failures += 1
        return BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS)) - 1]

    def _isolate(self, batch: list[Pending], error: Exception) -> None:
        """The database refuses the statement: find the group that it is about, and fail that one alone."""
        if len(batch) > 1:
            for pending in batch:
                pending.alone = True
            self._queue.put_back(batch)
            return
        log.error("the database refuses a group", error=first_line(error))
        batch[0].answer(error)

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            connection = await AsyncConnection.connect(self._dsn, autocommit=True)
            register(connection.adapters)
            self._connection = connection
            await connection.execute(READ_COMMITTED)
        return self._connection

    async def _disconnect(self) -> None:
        self._own.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _pending(group: Group, answers: Answers, place: int) -> Pending | None:
    """None when it cannot be written, with text that is not Unicode, say: that is its answer."""
    try:
        return Pending(group, answers, place)
    except Exception as error:  # the others are appended
        answers.give(place, error)
        return None


def _give_up(answers: Answers) -> None:
    answers.refuse(LogUnavailable("the database did not answer in time"))


async def _arguments(batch: Sequence[Pending]) -> tuple[Array, ...]:
    """What goes to `append_groups`; of many events, in several turns of the event loop."""
    facts = [(index, new) for index, pending in enumerate(batch) for new in pending.group.facts]
    guards = [(index, guard) for index, pending in enumerate(batch) for guard in pending.group.guards]
    places = (
        integers([index for index, _ in facts]),
        uuids([new.stream for _, new in facts]),
        big_integers([new.version for _, new in facts]),
    )
    if len(facts) >= MANY_EVENTS:
        await asyncio.sleep(0)
    contents = (
        texts([type(new.fact).topic for _, new in facts]),
        blobs([state for pending in batch for state in pending.states]),
    )
    if len(facts) >= MANY_EVENTS:
        await asyncio.sleep(0)
    return (
        *places,
        *contents,
        integers([index for index, _ in guards]),
        uuids([guard.stream for _, guard in guards]),
        big_integers([guard.version for _, guard in guards]),
    )


def _positions(batch: Sequence[Pending], refused: Set[int], first_position: int | None) -> dict[Pending, int]:
    """The last position of each accepted group: they lie one behind the other."""
    accepted: dict[Pending, int] = {}
    position = (first_position or 1) - 1
    for index, pending in enumerate(batch):
        if index not in refused:
            position += len(pending.group.facts)
            accepted[pending] = position
    return accepted


async def _own_positions(connection: AsyncConnection, pending: Sequence[Pending]) -> dict[Pending, int]:
    """The positions of those that an earlier, unanswered call has stored after all."""
    async with connection.pipeline():
        cursors = [await connection.execute(OWN_EVENT, _own_arguments(one)) for one in pending]
    rows = [await cursor.fetchone() for cursor in cursors]
    return {one: row[0] for one, row in zip(pending, rows, strict=True) if row}


def _own_arguments(pending: Pending) -> tuple[object, ...]:
    streams = [new.stream for new in pending.group.facts]
    versions = [new.version for new in pending.group.facts]
    return streams, versions, pending.states, len(streams)
