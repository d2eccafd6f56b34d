"""Rows as COPY takes them in its binary form: half of what arrays of parameters cost, on either side.

A field is its length and its bytes, NULL a length of -1; a row begins with the number of its fields. What is
never NULL and of a fixed width comes first, for all of that is packed at once (`head`). The text of a user
may hold U+0000, which no text column takes: see `projections.rows`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import batched
from struct import Struct
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.adapt import Dumper
from psycopg.pq import Format

from projections.projection import statement

_encode = msgspec.json.Encoder().encode
_NUL_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an even number of backslashes before it


def plain_text(text: str) -> str:
    """The text, with U+FFFD for every U+0000."""
    return text.replace("\0", "\ufffd")


def plain_bytes(value: Any) -> bytes:
    r"""Compact JSON of a value, with U+FFFD for every `\u0000`; the same value gives the same bytes."""
    encoded = _encode(value)
    # On the text, not on the value: the nesting of a payload has no bound that recursion could rely on.
    if b"\\u0000" in encoded:
        return _NUL_ESCAPE.sub("\\1\ufffd", encoded.decode()).encode()
    return encoded


ROWS_A_PIECE = 500
NULL = b"\xff\xff\xff\xff"
_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_TRUE, _FALSE = b"\0\0\0\1\1", b"\0\0\0\1\0"
_JSONB_VERSION = b"\1"
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_length = Struct(">i").pack
_int4 = Struct(">ii").pack
_int8 = Struct(">iq").pack
_float8 = Struct(">id").pack
_array_head = Struct(">iiIii").pack
_UUID_OID, _UUID_ARRAY_OID = 2950, 2951
_UUID_LENGTH = _length(16)


_FORMATS = {"uuid": "i16s", "int8": "iq", "int4": "ii"}


def head(*kinds: Literal["uuid", "int8", "int4"]) -> Callable[..., bytes]:
    """What packs the beginning of a row: the number of its fields, then length and value of each of these.

    A `uuid` is given as its 16 bytes, and an instant, which is an `int8`, as its `microseconds`.
    """
    return Struct(">h" + "".join([_FORMATS[kind] for kind in kinds])).pack


def integer(value: int | None) -> bytes:
    """An `int4`. Raises `struct.error` when it is none."""
    return NULL if value is None else _int4(4, value)


def bigint(value: int | None) -> bytes:
    """An `int8`. Raises `struct.error` when it is none."""
    return NULL if value is None else _int8(8, value)


def double(value: float) -> bytes:
    """A `float8`."""
    return _float8(8, value)


def boolean(value: bool | None) -> bytes:  # noqa: FBT001 - a value, not a switch
    """A `bool`."""
    if value is None:
        return NULL
    return _TRUE if value else _FALSE


def microseconds(value: datetime) -> int:
    """Since 2000, as a `timestamptz` counts them."""
    since = value - _POSTGRES_EPOCH  # dividing it takes longer
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def instant(value: datetime | None) -> bytes:
    """A `timestamptz`."""
    return NULL if value is None else _int8(8, microseconds(value))


def verbatim(encoded: bytes) -> bytes:
    """These bytes, for a column that takes text."""
    return _length(len(encoded)) + encoded


def text(value: str | None) -> bytes:
    """A `text` or `varchar`, with U+FFFD for U+0000."""
    if value is None:
        return NULL
    encoded = plain_text(value).encode()
    return _length(len(encoded)) + encoded


word = lru_cache(maxsize=1_024)(text)
"""`text` for what few different values are expected of: each is encoded once."""


def json(value: object) -> bytes:
    r"""A `json`, with U+FFFD for `\u0000`; None is NULL."""
    if value is None:
        return NULL
    encoded = plain_bytes(value)
    return _length(len(encoded)) + encoded


def jsonb(value: object) -> bytes:
    r"""A `jsonb`, with U+FFFD for `\u0000`; None is NULL."""
    if value is None:
        return NULL
    encoded = plain_bytes(value)
    return _length(1 + len(encoded)) + _JSONB_VERSION + encoded


async def put[R](
    connection: AsyncConnection, name: str, rows: Collection[R], fields: Callable[[R], tuple[bytes, ...]]
) -> None:
    """Send rows to the COPY statement of that name; a row's first field is what its `head` packs."""
    if not rows:
        return
    async with connection.cursor() as cursor, cursor.copy(statement(name)) as copy:
        for piece in _document(map(fields, rows)):
            await copy.write(piece)


def _document(rows: Iterable[tuple[bytes, ...]]) -> Iterator[bytes]:
    """In pieces: the rows may be large ones, and are not to be in memory twice."""
    parts = [_BEGIN]
    for some in batched(rows, ROWS_A_PIECE):
        if len(parts) > 1:
            yield b"".join(parts)
            parts.clear()
        for row in some:
            parts += row
    parts.append(_END)
    yield b"".join(parts)


class Uuids(bytes):
    """A `uuid[]`, ready to be sent: the driver would ask each element for its type."""

    __slots__ = ()


def uuids(values: Collection[UUID]) -> Uuids:
    """An array of them."""
    beginning = _array_head(1, 0, _UUID_OID, len(values), 1)
    return Uuids(beginning + b"".join([_UUID_LENGTH + value.int.to_bytes(16) for value in values]))


class _UuidsDumper(Dumper):
    format = Format.BINARY
    oid = _UUID_ARRAY_OID

    def dump(self, obj: Uuids) -> bytes:
        return obj


psycopg.adapters.register_dumper(Uuids, _UuidsDumper)


class _HasStatus(Protocol):
    @property
    def namespace(self) -> str: ...

    @property
    def status(self) -> str: ...


type StateCounts = Counter[tuple[str, str]]


def count_change(counts: StateCounts, before: _HasStatus | None, after: _HasStatus) -> None:
    """Take a row out of the count of its old status and into that of its new one.

    A count that comes to nothing keeps its key: which rows exist must not depend on the batch.
    """
    if before is None:
        counts[after.namespace, after.status] += 1
    elif before.status != after.status:
        counts[before.namespace, before.status] -= 1
        counts[after.namespace, after.status] += 1


async def write_counts(connection: AsyncConnection, name: str, counts: StateCounts) -> None:
    """Add the changes of a batch by the statement of that name."""
    if counts:
        namespaces, statuses = zip(*counts, strict=True)
        totals = list(counts.values())
        parameters = {"namespace": list(namespaces), "status": list(statuses), "total": totals}
        await connection.execute(statement(name), parameters)


class Taken[R]:
    """Rows by their id. In a pipeline they can be read once that is over."""

    def __init__(self, cursor: AsyncCursor | None, row: Callable[[Sequence[Any]], R]) -> None:
        """`row` makes one of its columns, the first of which is the id; `cursor` None: nothing was asked."""
        self._cursor = cursor
        self._row = row

    async def rows(self) -> dict[UUID, R]:
        """Those that there were."""
        if self._cursor is None:
            return {}
        async with self._cursor as cursor:
            return {row[0]: self._row(row) for row in await cursor.fetchall()}


async def take[R](
    connection: AsyncConnection, name: str, ids: Collection[UUID], row: Callable[[Sequence[Any]], R]
) -> Taken[R]:
    """Take out what there is of these by the statement of that name."""
    if not ids:
        return Taken(None, row)
    cursor = connection.cursor(binary=True)
    return Taken(await cursor.execute(statement(name), {"ids": uuids(ids)}), row)
