"""A database that lets nobody in ends every command at once, with one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from tests.support.service import Service

COMMANDS = [
    *(["serve"], ["api"], ["projector"], ["scheduler"]),
    *(["migrate"], ["migrate", "--down", "--yes"], ["rebuild"], ["replay", "tasks"], ["seed"]),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_missing_database_ends_a_command_with_one_line(
    shared_service: Service, database: str, command: list[str]
) -> None:
    missing = make_conninfo(database, dbname="no_such_thing")
    refused = shared_service.run(*command, DATABASE_URL=missing, PORT="0" if command != ["seed"] else "8080")
    assert (refused.returncode, refused.stdout) == (1, "")
    [sentence] = refused.stderr.splitlines()
    assert sentence.startswith('There is no database "no_such_thing": create it, or correct DATABASE_URL. ')
