"""Group commit: whatever queued while the last append ran goes into the next one."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import structlog
from psycopg import AsyncConnection

from application.ports import Answer, Group, LogUnavailable, Patience
from infrastructure.event_store import arrays
from infrastructure.event_store.outage import AWAY, TOO_LARGE, first_line
from infrastructure.event_store.own import OwnEvents
from infrastructure.event_store.pending import Answers, Pending, Queue

if TYPE_CHECKING:
    from collections.abc import Sequence, Set, Sized

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
        self, dsn: str, observer: AppendObserver | None = None, own: OwnEvents | None = None
    ) -> None:
        """`own` is told what has been appended."""
        self._dsn = dsn
        self._observer = observer
        self._own = own or OwnEvents(max_bytes=0)
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
            arrays.register(connection.adapters)
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


async def _arguments(batch: Sequence[Pending]) -> tuple[arrays.Array, ...]:
    """What goes to `append_groups`; of many events, in several turns of the event loop."""
    facts = [(index, new) for index, pending in enumerate(batch) for new in pending.group.facts]
    guards = [(index, guard) for index, pending in enumerate(batch) for guard in pending.group.guards]
    places = (
        arrays.integers([index for index, _ in facts]),
        arrays.uuids([new.stream for _, new in facts]),
        arrays.big_integers([new.version for _, new in facts]),
    )
    if len(facts) >= MANY_EVENTS:
        await asyncio.sleep(0)
    contents = (
        arrays.texts([type(new.fact).topic for _, new in facts]),
        arrays.blobs([state for pending in batch for state in pending.states]),
    )
    if len(facts) >= MANY_EVENTS:
        await asyncio.sleep(0)
    return (
        *places,
        *contents,
        arrays.integers([index for index, _ in guards]),
        arrays.uuids([guard.stream for _, guard in guards]),
        arrays.big_integers([guard.version for _, guard in guards]),
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
