"""A start without the database that it needs: waited for when it is away, ended when it refuses the login."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from structlog.testing import capture_logs

from infrastructure.settings import Settings, load
from interfaces.bootstrap.database import (
    DatabaseUnusable,
    MigrationsMissing,
    check_database,
    prepare_database,
)
from tests.support.fake_postgres import answering, refusal
from tests.support.proxy import Proxy

DEADLINE_SECONDS = 60


def settings(dsn: str, direct: str = "") -> Settings:
    return load({"DATABASE_URL": dsn, "DIRECT_DATABASE_URL": direct})


def refused_at_once(given: Settings) -> str:
    """The sentence of a start that did not wait for anything."""
    with capture_logs() as logged, pytest.raises(DatabaseUnusable) as refused:
        prepare_database(given)
    assert logged == []
    return str(refused.value)


def test_a_missing_database_ends_the_start(database: str) -> None:
    sentence = refused_at_once(settings(make_conninfo(database, dbname="no_such_thing")))
    assert sentence.startswith('There is no database "no_such_thing": create it, or correct DATABASE_URL. ')


def test_an_unknown_role_ends_the_start(database: str) -> None:
    """A server that asks for passwords does not say that it does not know the role."""
    sentence = refused_at_once(settings(make_conninfo(database, user="nobody_here")))
    assert '"nobody_here"' in sentence


def test_a_refused_password_ends_the_start(tmp_path: Path) -> None:
    said = refusal("28P01", 'password authentication failed for user "somebody"')
    with answering(tmp_path, said) as dsn:
        sentence = refused_at_once(settings(make_conninfo(dsn, password="opensesame")))
    assert sentence.startswith('The password of "somebody" is refused; correct DATABASE_URL. ')
    assert "opensesame" not in sentence


def test_a_refusal_behind_the_pooler_ends_the_start_too(database: str, tmp_path: Path) -> None:
    with answering(tmp_path, refusal("08P01", "password authentication failed")) as pooler:
        sentence = refused_at_once(settings(pooler, direct=database))
    assert f"host={tmp_path}" in sentence


async def test_a_database_that_comes_up_late_is_waited_for(database: str) -> None:
    async with Proxy(database) as proxy:
        proxy.refuse()
        with capture_logs() as logged:
            preparing = asyncio.create_task(asyncio.to_thread(prepare_database, settings(proxy.dsn)))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while proxy.refused < 1:
                    await asyncio.sleep(0.01)
                proxy.accept()
                assert await preparing == []
    assert [entry["event"] for entry in logged] == ["waiting for the database"]


def test_a_database_that_stays_away_ends_the_start_after_a_while() -> None:
    with pytest.raises(
        DatabaseUnusable, match=r"^The database does not answer \(.*Connection refused\); start"
    ):
        prepare_database(settings("host=127.0.0.1 port=9"), patience_seconds=0)


def test_a_command_that_only_reads_refuses_an_older_schema_and_changes_nothing(empty_database: str) -> None:
    with pytest.raises(MigrationsMissing, match=r"lacks migrations \(0001.*run `chronoledger migrate`"):
        check_database(settings(empty_database))
    with psycopg.connect(empty_database) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)
    applied = prepare_database(settings(empty_database))
    check_database(settings(empty_database))
    with psycopg.connect(empty_database) as connection:
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", [applied[-1]])
    with pytest.raises(MigrationsMissing, match=rf"\({applied[-1]}\)"):
        check_database(settings(empty_database))
