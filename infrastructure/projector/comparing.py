"""Comparing a read model's table with the same one folded afresh, row by row and column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from psycopg import sql

from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from psycopg import AsyncConnection

statement = statements("infrastructure.projector")

# What users wrote or servers answered may be secret: that it differs is told, not what it is.
_UNTOLD = frozenset({"text", "json", "jsonb", "character varying(255)"})
_WITHOUT_EQUALITY = frozenset({"json", "jsonb"})  # equal numbers of jsonb may be other bytes


class DifferentColumn(NamedTuple):
    """A column whose value is another one than the log tells.

    `told` False: `stored` and `expected` are left out, for they may be secret.
    """

    name: str
    told: bool
    stored: str | None
    expected: str | None


class Difference(NamedTuple):
    """A row of a read model that is not what the log tells.

    `missing`: it has to be there; `unexpected`: it must not; `different`: `columns` are wrong. `key` maps the
    columns of the primary key to their values.
    """

    projection: str
    table: str
    key: dict[str, str]
    kind: Literal["missing", "unexpected", "different"]
    columns: tuple[DifferentColumn, ...] = ()


class Column(NamedTuple):
    """A column as the catalogue knows it."""

    name: str
    sql_type: str
    in_key: bool

    @property
    def told(self) -> bool:
        """Whether its values may be shown."""
        return self.sql_type not in _UNTOLD

    def of(self, side: str) -> sql.Composable:
        """Its value in a table, as something that can be compared."""
        value = sql.Identifier(side, self.name)
        return sql.SQL("{}::text").format(value) if self.sql_type in _WITHOUT_EQUALITY else value

    def shown_of(self, side: str) -> sql.Composable:
        """Its value as text; NULL when that is not to be told."""
        return sql.SQL("{}::text").format(sql.Identifier(side, self.name)) if self.told else sql.SQL("NULL")


async def differences(
    connection: AsyncConnection, projection: str, table: str, *, live: str, fresh: str
) -> AsyncIterator[Difference]:
    """The rows of a table in the schema `live` that are not as in `fresh`, in the order of its key.

    Needs a transaction: rows are fetched as they are asked for.
    """
    columns = await _columns(connection, fresh, table)
    keys = [column.name for column in columns if column.in_key]
    others = [column for column in columns if not column.in_key]
    async with connection.cursor(name="differences") as cursor:
        await cursor.execute(_statement(columns, live=(live, table), fresh=(fresh, table)))
        async for stored, expected, key, *values in cursor:
            named = dict(zip(keys, key, strict=True))
            if stored and expected:
                yield Difference(projection, table, named, "different", tuple(_changed(others, *values)))
            else:
                yield Difference(projection, table, named, "unexpected" if stored else "missing")


def _changed(
    columns: Sequence[Column],
    changed: Sequence[bool],
    stored: Sequence[str | None],
    expected: Sequence[str | None],
) -> list[DifferentColumn]:
    rows = zip(columns, changed, stored, expected, strict=True)
    return [
        DifferentColumn(column.name, column.told, found, right)
        for column, differs, found, right in rows
        if differs
    ]


async def _columns(connection: AsyncConnection, schema: str, table: str) -> list[Column]:
    parameters = {"table": sql.Identifier(schema, table).as_string(connection)}
    cursor = await connection.execute(statement("table_columns"), parameters)
    return [Column(*row) for row in await cursor.fetchall()]


def _statement(columns: Sequence[Column], *, live: tuple[str, str], fresh: tuple[str, str]) -> sql.Composed:
    keys = [sql.Identifier(column.name) for column in columns if column.in_key]
    others = [column for column in columns if not column.in_key]
    stored = [column.of("live") for column in columns]
    expected = [column.of("fresh") for column in columns]
    changed = [
        sql.SQL("{} IS DISTINCT FROM {}").format(column.of("live"), column.of("fresh")) for column in others
    ]
    return sql.SQL(statement("table_differences").decode()).format(
        first=keys[0],
        key=_list(keys),
        key_values=_list([sql.SQL("{}::text").format(key) for key in keys]),
        changed=_list(changed),
        stored_values=_list([column.shown_of("live") for column in others]),
        expected_values=_list([column.shown_of("fresh") for column in others]),
        live=sql.Identifier(*live),
        fresh=sql.Identifier(*fresh),
        stored=_list(stored),
        expected=_list(expected),
    )


def _list(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
