"""What a database refuses to a command is told in a sentence."""

from __future__ import annotations

import psycopg
import pytest

from infrastructure.settings import load
from interfaces.bootstrap import USER_ERRORS
from interfaces.bootstrap.database import NotPermitted, TablesMissing, database

SETTINGS = load({"DB_NAME": "x"})


def test_a_role_that_lacks_a_privilege_is_told_of_it() -> None:
    with (
        pytest.raises(NotPermitted, match="permission denied for table events") as refused,
        database(SETTINGS),
    ):
        raise psycopg.errors.InsufficientPrivilege("permission denied for table events\nLINE 1: …")
    assert isinstance(refused.value, USER_ERRORS)
    assert "\n" not in str(refused.value)


def test_a_database_on_which_no_projector_has_run_is_told() -> None:
    with pytest.raises(TablesMissing, match="let a projector run there") as refused, database(SETTINGS):
        raise psycopg.errors.UndefinedTable('relation "tasks" does not exist')
    assert isinstance(refused.value, USER_ERRORS)
