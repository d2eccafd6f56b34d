"""Arrays in the binary form that Postgres takes them in, put together in one go.

The driver asks each element for its type, which costs more than all else about an append (ADR 2). The form is
that of `array_recv` in the server: dimensions, nulls or none, element type, length, lower bound, elements.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
