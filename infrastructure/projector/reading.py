"""The log as projections see it: facts alone, without who asked and when they were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection

from application.ports import Undecodable
from domain.facts import AnyFact, EventsRedacted
from infrastructure.archive.catalog import NO_ARCHIVES, Catalog, Wanted, events_after
from infrastructure.event_store.mapper import FACT_TYPES, UnknownTopic
from infrastructure.sql import statements


class ProjectorObserver(Protocol):
    """Hears what is applied, for metrics. Must neither block nor raise."""

    def projected(self, projection: str, events: int) -> None:
        """A batch is committed."""


statement = statements("infrastructure.projector")

BATCH_EVENTS = 5_000
# Rows, facts and what is sent of them are in memory at once: a few times as much as is stored.
BATCH_BYTES = 16 * 1024 * 1024

# The rows of events that were rewritten are in memory together, with the bodies that are to be erased.
BATCH_REWRITTEN = 1_000


class Entry(Struct, frozen=True, gc=False):
    """A fact at its place; `position` is that in the one total order."""

    position: int
    stream: UUID
    version: int
    fact: AnyFact | Undecodable


class Reading(NamedTuple):
    """Facts in their order, and whether it is a bound that ended them: there may be more."""

    entries: Sequence[Entry]
    full: bool


class _Stored[F](Struct, gc=False):
    """What is read of the stored JSON: decoding the rest costs a third more."""

    fact: F


_decoders: dict[str, msgspec.json.Decoder[_Stored[AnyFact]]] = {
    fact_type.topic: msgspec.json.Decoder(_Stored[fact_type])  # type: ignore[valid-type]
    for fact_type in FACT_TYPES
}


async def read_entries(
    connection: AsyncConnection, position: int, limit: int = BATCH_EVENTS, most_bytes: int = BATCH_BYTES
) -> Reading:
    """Up to `limit` facts after `position`; those that cannot be decoded are `Undecodable`.

    The last of them is the one that makes their stored JSON `most_bytes` or more, or what they tell to be
    rewritten `BATCH_REWRITTEN` events or more.
    """
    async with connection.cursor(binary=True) as cursor:
        bounds = {"position": position, "limit": limit, "bytes": most_bytes}
        await cursor.execute(statement("read_events"), bounds)
        rows = await cursor.fetchall()
    entries = [
        Entry(place, stream, version, decoded(topic, state)) for place, stream, version, topic, state in rows
    ]
    full = len(rows) == limit or sum([len(state) for *_, state in rows]) >= most_bytes
    return bounded(entries, full=full)


def bounded(entries: Sequence[Entry], *, full: bool) -> Reading:
    """Facts up to the one with which `BATCH_REWRITTEN` events or more are told to be rewritten."""
    told = 0
    for place, fact in [
        (place, entry.fact) for place, entry in enumerate(entries, 1) if type(entry.fact) is EventsRedacted
    ]:
        told += len(fact.rewritten)
        if told >= BATCH_REWRITTEN and place < len(entries):
            return Reading(entries[:place], full=True)
    return Reading(entries, full)


def decoded(topic: str, state: bytes) -> AnyFact | Undecodable:
    """The fact that is stored under a topic."""
    try:
        return _decoders[topic].decode(state).fact
    except KeyError:
        return Undecodable(topic=topic, error=str(UnknownTopic(topic)))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, no such fields
        return Undecodable(topic=topic, error=str(error))


# More than a projector takes: nobody waits for the first of them, and a task with many executions among them
# is taken out and put back once.
EVENTS_AT_ONCE = 20_000
# Each event of an execution beyond its second may bring back a row with an answer in it.
LATER_AT_ONCE = 5_000
SECOND = 2


class WholeLog:
    """Facts in the order of their positions, those in archives among them."""

    def __init__(self, catalog: Catalog, at_once: int = EVENTS_AT_ONCE, wanted: Wanted | None = None) -> None:
        """`at_once`: so many of them, where they are small. `wanted`: these alone."""
        self._catalog = catalog
        self._at_once = at_once
        self._next = at_once
        self._wanted = wanted

    def some(self, wanted: Wanted) -> WholeLog:
        """What is wanted of it, as if there were nothing else."""
        return WholeLog(self._catalog, self._at_once, wanted)

    async def entries(
        self,
        connection: AsyncConnection,
        position: int,
        limit: int | None = None,
        most_bytes: int = BATCH_BYTES,
    ) -> Reading:
        """As `read_entries`; no more than `LATER_AT_ONCE` of them are the third of their stream or later.

        Raises `ArchiveAway` rather than to leave out what cannot be read.
        """
        asked = limit or self._next
        events, full = await events_after(
            connection, self._catalog, position, asked, most_bytes, self._wanted
        )
        # The sizes of all that is asked for are added up: where few are taken, few are asked for.
        self._next = min(self._at_once, BATCH_EVENTS) if full and len(events) < asked else self._at_once
        entries = [
            Entry(event.position, event.stream, event.version, decoded(event.topic, event.state))
            for event in events
        ]
        later = [place for place, entry in enumerate(entries, 1) if entry.version > SECOND]
        if len(later) > LATER_AT_ONCE:
            entries, full = entries[: later[LATER_AT_ONCE - 1]], True
        return bounded(entries, full=full)


NOTHING_ARCHIVED = WholeLog(NO_ARCHIVES)
"""The log of who knows of no archives: it refuses to be read past one."""
