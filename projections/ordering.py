"""Sorts of lists, and cursors: where a page ended, so that the next one starts right behind it.

The only parts of a statement that are put together at run time are here, and they come from the tables below:
a user's word only chooses among them.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from functools import cache
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg import sql

from projections.plain import plain_text
from projections.statements import statement


class BadCursor(ValueError):
    """The cursor is not one of this list; take `next_cursor` of the page before, unchanged, with its sort."""

    def __init__(self) -> None:
        super().__init__(
            "The cursor does not belong to this list and sort; send the `next_cursor` of the page before, "
            "unchanged, or leave it out to start from the first page."
        )


class BadSort(ValueError):
    """There is no such sort of this list."""

    def __init__(self, given: str, known: list[str]) -> None:
        super().__init__(
            f"There is no sort {given!r}; choose one of {', '.join(known)}, or one with `-` before it."
        )


class Sort(Struct, frozen=True):
    """A column to sort by. Where it may be NULL, `least` and `greatest` put those rows last either way."""

    column: LiteralString
    sql_type: LiteralString
    type: type[datetime] | type[str] | type[int]
    least: LiteralString | None = None
    greatest: LiteralString | None = None


_TIME: tuple[LiteralString, type[datetime]] = ("timestamptz", datetime)

TASK_SORTS = {
    "created_at": Sort("created_at", *_TIME),
    "updated_at": Sort("updated_at", *_TIME),
    "next_run": Sort("next_run", *_TIME, "'-infinity'", "'infinity'"),
    "name": Sort("name", "text", str),
}
RESULT_SORTS = {
    "due_at": Sort("due_at", *_TIME),
    "run_at": Sort("run_at", *_TIME, "'-infinity'", "'infinity'"),
    "created_at": Sort("created_at", *_TIME),
    "duration_ms": Sort("duration_ms", "int", int, "-1", "2147483647"),
}


class Order(Struct, frozen=True):
    """A sort and its direction; `last` is what the page before ended with: its value and its id."""

    name: str
    sort: Sort
    last: tuple[datetime | str | int | None, UUID] | None

    @property
    def parameters(self) -> dict[str, object]:
        """What the list statements bind for it."""
        last, last_id = self.last or (None, None)
        return {"last": last, "last_id": last_id}

    def cursor(self, row: object) -> str:
        """The cursor behind a view's row."""
        value = getattr(row, self.sort.column)
        place = msgspec.json.encode((self.name, value, row.id))  # type: ignore[attr-defined]  # all views have it
        return urlsafe_b64encode(place).rstrip(b"=").decode()


def order(sorts: dict[str, Sort], default: str, sort: str | None, cursor: str | None) -> Order:
    """What `sort` and `cursor` ask for. Raises `BadSort` and `BadCursor`."""
    if cursor is None:
        name = sort or default
        return Order(name, _known(sorts, name), None)
    try:
        name, value, last_id = msgspec.json.decode(_unpadded(cursor), type=tuple[str, object, UUID])
        known = _known(sorts, name)
        last = msgspec.convert(value, known.type if known.least is None else known.type | None)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadCursor from error
    if sort not in (None, name) or (isinstance(last, datetime) and last.tzinfo is None):
        raise BadCursor
    return Order(name, known, (_storable(last), last_id))


def _known(sorts: dict[str, Sort], name: str) -> Sort:
    sort = sorts.get(name.removeprefix("-"))
    if sort is None or name.startswith("--"):
        raise BadSort(name, list(sorts))
    return sort


def _unpadded(cursor: str) -> bytes:
    return urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))


def _storable(last: datetime | str | int | None) -> datetime | str | int | None:
    match last:
        case datetime():
            return last.astimezone(UTC)
        case int() if not -1 <= last <= 2_147_483_647:
            raise BadCursor
        case str():
            return plain_text(last)  # the column holds that copy, and is what the rows are sorted by
        case _:
            return last


@cache
def list_statement(file: str, view: LiteralString, name: str, sort: Sort) -> bytes:
    """The list statement of a file for a sort: rows without a value come last, the id breaks ties."""
    descending = name.startswith("-")
    substitute = sort.least if descending else sort.greatest
    composed = sql.SQL(statement(file).decode()).format(
        view=sql.Identifier(view),
        key=_present(sql.SQL(sort.column), substitute),
        last=_present(sql.SQL("%(last)s::" + sort.sql_type), substitute),
        beyond=sql.SQL("<" if descending else ">"),
        way=sql.SQL("DESC" if descending else "ASC"),
    )
    return composed.as_bytes()


@cache
def counted_statement(file: str, count_file: str, view: LiteralString, name: str, sort: Sort) -> bytes:
    """A list statement whose rows each end with the count of another one: both of the same instant."""
    page, count = list_statement(file, view, name, sort), statement(count_file)
    return b"SELECT page.*, (\n" + count + b") FROM (\n" + page + b") AS page"


def _present(value: sql.Composable, substitute: LiteralString | None) -> sql.Composable:
    return value if substitute is None else sql.SQL("coalesce({}, {})").format(value, sql.SQL(substitute))
