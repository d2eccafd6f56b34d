"""Databases of one test each, on a server that all tests share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator


class Databases:
    """Makes databases on a server; `server` is a superuser's DSN."""

    def __init__(self, server: str) -> None:
        self.server = server

    @contextlib.contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of one without a schema, dropped afterwards."""
        with self._made_of("template0") as dsn:
            yield dsn

    @contextlib.contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """The DSN of a copy, dropped afterwards; `template` is that of a database that nobody uses."""
        with self._made_of(str(conninfo_to_dict(template)["dbname"])) as dsn:
            yield dsn

    @contextlib.contextmanager
    def _made_of(self, template: str) -> Iterator[str]:
        name = f"test_{uuid4().hex}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        try:
            yield make_conninfo(self.server, dbname=name)
        finally:
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
