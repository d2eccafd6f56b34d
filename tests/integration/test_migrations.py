"""Migrations up, down and up again, by one process, by two at once, and by one that is killed half-way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from time import monotonic
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from yoyo import internalmigrations  # type: ignore[import-untyped]
from yoyo.backends.base import DatabaseBackend  # type: ignore[import-untyped]

from infrastructure.event_store.appender import Appender
from infrastructure.migrator import events_stored, migrate, migrate_down
from tests.support.groups import group
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append

DEADLINE_SECONDS = 60
# Whatever a migration can leave behind in the schema, but yoyo's own books.
OBJECTS = """
    SELECT kind || ' ' || name FROM (
        SELECT 'relation', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'extension', extname FROM pg_extension WHERE extname <> 'plpgsql'
        UNION ALL
        SELECT 'schema', nspname FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')
    ) AS object (kind, name)
    WHERE name NOT LIKE '%yoyo%' ORDER BY 1
"""

_processes = multiprocessing.get_context("spawn")


def objects(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [name for (name,) in connection.execute(OBJECTS.encode()).fetchall()]


def test_up_from_nothing_applies_everything_in_order(empty_database: str) -> None:
    applied = migrate(empty_database)
    assert applied[0] == "0001_event_store"
    assert applied == sorted(applied)
    assert len(applied) == len(set(applied))
    there = objects(empty_database)
    assert {"relation events", "function append_groups", "type stored_event_uuid"} <= set(there)


def test_up_again_has_nothing_to_do(empty_database: str) -> None:
    migrate(empty_database)
    before = objects(empty_database)
    assert migrate(empty_database) == []
    assert objects(empty_database) == before


def test_up_again_makes_no_tables_to_find_out_what_there_is(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty_database)
    executed, execute = list[str](), DatabaseBackend.execute

    def overheard(backend: DatabaseBackend, statement: str, *parameters: object) -> object:
        executed.append(statement)
        return execute(backend, statement, *parameters)

    monkeypatch.setattr(DatabaseBackend, "execute", overheard)
    assert migrate(empty_database) == []
    assert executed
    assert [statement for statement in executed if "TABLE" in statement] == []


def test_down_removes_everything_and_up_works_again(empty_database: str) -> None:
    untouched = objects(empty_database)
    applied = migrate(empty_database)
    there = objects(empty_database)
    assert migrate_down(empty_database) == applied[::-1]
    assert objects(empty_database) == untouched
    assert migrate_down(empty_database) == []
    assert migrate(empty_database) == applied
    assert objects(empty_database) == there


@pytest.mark.parametrize("built_on", ["", "CREATE VIEW late AS SELECT id FROM tasks WHERE next_run < now()"])
async def test_down_removes_read_models_and_what_is_built_on_them(empty_database: str, built_on: str) -> None:
    untouched = objects(empty_database)
    migrate(empty_database)
    async with await connect(empty_database) as connection:
        await append(connection, RandomLog(6).grow(200))
        await project(connection)
        await connection.execute(built_on.encode())
    assert "relation task_states" in objects(empty_database)
    migrate_down(empty_database)
    assert objects(empty_database) == untouched


async def test_down_says_beforehand_how_many_events_it_deletes(empty_database: str) -> None:
    assert events_stored(empty_database) == 0
    migrate(empty_database)
    assert events_stored(empty_database) == 0
    async with Appender(empty_database) as appender:
        for _ in range(3):
            await appender.append(group(uuid4(), 1))
    assert events_stored(empty_database) == 3
    migrate_down(empty_database)
    assert events_stored(empty_database) == 0


def _migrate_at_once(dsn: str, barrier: Barrier, answers: Queue[list[str]]) -> None:
    barrier.wait(DEADLINE_SECONDS)
    answers.put(migrate(dsn))


@pytest.mark.race
def test_processes_that_migrate_at_once_all_succeed_and_apply_once(empty_database: str) -> None:
    count = 3
    barrier, answers = _processes.Barrier(count), _processes.Queue()
    migrating = [
        _processes.Process(target=_migrate_at_once, args=(empty_database, barrier, answers))
        for _ in range(count)
    ]
    for process in migrating:
        process.start()
    applied = sorted((answers.get(timeout=DEADLINE_SECONDS) for _ in migrating), key=len)
    for process in migrating:
        process.join(DEADLINE_SECONDS)
        assert process.exitcode == 0
    assert applied[:-1] == [[]] * (count - 1)
    assert migrate_down(empty_database) == applied[-1][::-1]


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_when_marking(dsn: str, direction: str) -> None:
    """Be killed between a migration's last statement and its mark."""
    DatabaseBackend.mark_one = DatabaseBackend.unmark_one = die
    migrate(dsn) if direction == "up" else migrate_down(dsn)


def _die_when_locking(dsn: str, _: str) -> None:
    """Be killed while yoyo makes its own tables, and holds its own lock."""
    internalmigrations.upgrade = die
    migrate(dsn)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_process_killed_before_the_mark_leaves_nothing_half_done(
    empty_database: str, direction: str
) -> None:
    if direction == "down":
        migrate(empty_database)
    before = objects(empty_database)
    run_until_killed(_die_when_marking, empty_database, direction)
    assert objects(empty_database) == before
    applied = migrate(empty_database)
    assert (applied == []) == (direction == "down")
    assert "relation events" in objects(empty_database)
    assert migrate_down(empty_database)[-1] == "0001_event_store"


def test_the_lock_of_a_killed_process_holds_nobody_up(empty_database: str) -> None:
    run_until_killed(_die_when_locking, empty_database, "up")
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM yoyo_lock").fetchone() == (1,)
    began = monotonic()
    assert migrate(empty_database)[0] == "0001_event_store"
    assert monotonic() - began < 9, "yoyo waits ten seconds for its lock before it gives up"


def run_until_killed(target: object, dsn: str, direction: str) -> None:
    process = _processes.Process(target=target, args=(dsn, direction))  # type: ignore[arg-type]
    process.start()
    process.join(DEADLINE_SECONDS)
    assert process.exitcode == -signal.SIGKILL


def test_a_second_migrator_waits_for_the_first(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(hashtextextended('chronoledger.migrations', 0))")
        second = _processes.Process(target=migrate, args=(empty_database,))
        second.start()
        deadline = monotonic() + DEADLINE_SECONDS
        while first.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            assert monotonic() < deadline
        assert objects(empty_database) == []
    second.join(DEADLINE_SECONDS)
    assert second.exitcode == 0
    assert "relation events" in objects(empty_database)


PASSWORD = "p@ss w/o+100%'\"\\:&=?#ü"


@pytest.fixture
def owned_database(postgres_server: str, empty_database: str) -> Iterator[str]:
    """An empty database whose owner is no superuser and has a password full of special characters."""
    role = f"owner_{uuid4().hex}"
    name = str(conninfo_to_dict(empty_database)["dbname"])
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
        )
        admin.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role))
        )
        yield make_conninfo(empty_database, user=role, password=PASSWORD)
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name)))
        with psycopg.connect(empty_database, autocommit=True) as inside:
            inside.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


async def test_an_ordinary_owner_with_any_password_migrates_and_appends(owned_database: str) -> None:
    assert migrate(owned_database)[0] == "0001_event_store"
    async with Appender(owned_database) as appender:
        assert await appender.append(group(uuid4(), 1)) is not None
    assert migrate_down(owned_database)[-1] == "0001_event_store"
