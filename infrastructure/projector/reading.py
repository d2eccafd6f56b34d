"""The log as projections see it: facts alone, without who asked and when they were recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from application.ports import Undecodable
from domain.facts import AnyFact
from infrastructure.event_store.mapper import FACT_TYPES, UnknownTopic
from infrastructure.projector.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection


class Entry(Struct, frozen=True, gc=False):
    """A fact at its place; `position` is that in the one total order."""

    position: int
    stream: UUID
    version: int
    fact: AnyFact | Undecodable


class _Stored[F](Struct, gc=False):
    """What is read of the stored JSON: decoding the rest costs a third more."""

    fact: F


_decoders: dict[str, msgspec.json.Decoder[_Stored[AnyFact]]] = {
    fact_type.topic: msgspec.json.Decoder(_Stored[fact_type])  # type: ignore[valid-type]
    for fact_type in FACT_TYPES
}


async def read_entries(connection: AsyncConnection, position: int, limit: int) -> Sequence[Entry]:
    """Up to `limit` facts after `position`, in order; those that cannot be decoded are `Undecodable`."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement("read_events"), {"position": position, "limit": limit})
        rows = await cursor.fetchall()
    return [
        Entry(place, stream, version, decoded(topic, state)) for place, stream, version, topic, state in rows
    ]


def decoded(topic: str, state: bytes) -> AnyFact | Undecodable:
    """The fact that is stored under a topic."""
    try:
        return _decoders[topic].decode(state).fact
    except KeyError:
        return Undecodable(topic=topic, error=str(UnknownTopic(topic)))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, no such fields
        return Undecodable(topic=topic, error=str(error))
