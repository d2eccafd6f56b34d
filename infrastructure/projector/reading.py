"""The log as projections see it: facts alone, without who asked and when they were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from application.ports import Undecodable
from domain.facts import AnyFact
from domain.redaction_facts import EventsRedacted
from infrastructure.event_store.mapper import FACT_TYPES, UnknownTopic
from infrastructure.sql import statements

if TYPE_CHECKING:
    from psycopg import AsyncConnection

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
