"""A second database in the state of an earlier moment, on which no scheduler begins."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from infrastructure.migrator import migrate, migrate_down
from infrastructure.postgres import pool, with_liveness
from infrastructure.transfer import export as reading
from infrastructure.transfer.database import (
    IMPORTING,
    Fenced,
    NotReleased,
    check_fence,
    check_fence_once_connected,
    fence_reason,
    raise_fence,
    remove_fence,
)
from infrastructure.transfer.errors import TargetInUse, TargetIsSource, TargetNotEmpty
from infrastructure.transfer.format import Selection
from infrastructure.transfer.replay import replay_events
from tests.support.service import PROGRAM
from tests.support.transfers import (
    Interrupted,
    Progress,
    append_one,
    events,
    export,
    fill,
    import_,
    read_models,
)

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many."""
    monkeypatch.setattr(reading, "PART_EVENTS", 50)


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with some 700 events."""
    asyncio.run(fill(database))
    return database


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command, in a folder of its own."""

    def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env={"DATABASE_URL": dsn, "LOG_DIR": str(tmp_path / "logs"), "PORT": "0"},
        )

    return command


def test_the_second_database_holds_the_log_and_the_read_models_of_that_instant(
    log: str, other_database: str, run: Run
) -> None:
    rows = events(log)
    instant = rows[400][5]
    expected = [row for row in rows if row[5] <= instant]
    assert 0 < len(expected) < len(rows)
    replayed = run(log, "replay", "--until", instant.isoformat(), "--to", other_database)
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.startswith(f"{len(expected)} events, up to {expected[-1][4]}\n")
    assert "NO SCHEDULER BEGINS" in replayed.stdout
    assert events(other_database) == expected
    checked = run(other_database, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_same_by_position_is_the_same_as_an_imported_prefix(
    log: str, database: str, other_database: str, empty_database: str, run: Run, tmp_path: Path
) -> None:
    last = events(log)[250][4]
    replayed = run(log, "replay", "--until-position", str(last), "--to", empty_database)
    assert replayed.returncode == 0, replayed.stderr
    export(database, tmp_path / "a.zst", Selection(last=last))
    import_(other_database, tmp_path / "a.zst", partial=True)
    assert events(empty_database) == events(other_database)
    assert asyncio.run(read_models(empty_database)) == asyncio.run(read_models(other_database))


def test_no_scheduler_begins_on_it_until_it_is_released(log: str, other_database: str, run: Run) -> None:
    replay_events(log, other_database, 10, Progress())
    for role in ("scheduler", "serve"):
        refused = run(other_database, role)
        assert refused.returncode == 1
        assert "No scheduler begins here: this database holds the state of an earlier" in refused.stderr
    check_fence(log)
    assert run(other_database, "replay", "--release").stdout == "Schedulers begin here from now on.\n"
    check_fence(other_database)
    assert run(other_database, "replay", "--release").stdout == "Nothing kept schedulers away.\n"


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_replay_goes_on_and_keeps_schedulers_away_meanwhile(
    log: str, other_database: str
) -> None:
    for until, interruptions in ((600, (0, 3)), (events(log)[-1][4], (0,))):
        for parts in interruptions:
            with pytest.raises(Interrupted):
                replay_events(log, other_database, until, Progress("stored", parts))
            with pytest.raises(Fenced):
                check_fence(other_database)
            with pytest.raises(NotReleased, match="a replay into this database has not ended"):
                remove_fence(other_database)
        done = replay_events(log, other_database, until, Progress())
        assert 0 < done.stored < done.events
        assert events(other_database) == events(log, f"notification_id <= {until}")
    assert remove_fence(other_database)
    check_fence(other_database)


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_import_keeps_schedulers_away_until_it_has_ended(
    log: str, other_database: str, tmp_path: Path, run: Run
) -> None:
    export(log, tmp_path / "a.zst")
    with pytest.raises(Interrupted):
        import_(other_database, tmp_path / "a.zst", Progress("stored", 2))
    with pytest.raises(Fenced, match="an import into this database has not ended"):
        check_fence(other_database)
    refused = run(other_database, "replay", "--release")
    assert refused.returncode == 1
    assert "Nothing is released: an import into this database has not ended" in refused.stderr
    done = run(other_database, "import", "a.zst")
    assert "NO SCHEDULER BEGINS" not in done.stdout
    check_fence(other_database)


def test_no_scheduler_begins_on_an_earlier_moment_that_comes_by_file(
    log: str, other_database: str, empty_database: str, run: Run, tmp_path: Path
) -> None:
    last = events(log)[250][4]
    export(log, tmp_path / "part.zst", Selection(last=last))
    done = run(other_database, "import", "part.zst", "--partial")
    assert done.returncode == 0, done.stderr
    assert "NO SCHEDULER BEGINS" in done.stdout
    with pytest.raises(Fenced, match="holds a part of a log, or one on which no scheduler began, imported"):
        check_fence(other_database)
    export(other_database, tmp_path / "copy.zst")
    migrate(empty_database)
    import_(empty_database, tmp_path / "copy.zst")
    with pytest.raises(Fenced, match="on which no scheduler began, imported"):
        check_fence(empty_database)
    assert remove_fence(empty_database)
    again = import_(empty_database, tmp_path / "copy.zst")
    assert not again.fenced, "what was released stays so"
    check_fence(empty_database)


async def test_a_scheduler_that_connects_before_the_mark_has_the_import_give_way(
    other_database: str,
) -> None:
    async with pool(with_liveness(other_database), 1) as connections:
        await check_fence_once_connected(connections)
        with psycopg.connect(other_database, autocommit=True) as connection:
            with pytest.raises(TargetInUse, match="stop them first"):
                raise_fence(connection, IMPORTING)
            assert fence_reason(connection) is None


async def test_a_scheduler_that_connects_after_the_mark_gives_way(other_database: str) -> None:
    with psycopg.connect(other_database, autocommit=True) as connection:
        raise_fence(connection, IMPORTING)
    async with pool(with_liveness(other_database), 1) as connections:
        with pytest.raises(Fenced, match="an import into this database has not ended"):
            await check_fence_once_connected(connections)


def test_an_import_does_not_release_what_was_replayed(log: str, other_database: str, tmp_path: Path) -> None:
    last = events(log)[-1][4]
    replay_events(log, other_database, last, Progress())
    export(log, tmp_path / "a.zst")
    import_(other_database, tmp_path / "a.zst")
    with pytest.raises(Fenced):
        check_fence(other_database)


def test_only_an_empty_database_or_the_beginning_of_the_same_replay_is_taken(
    log: str, other_database: str
) -> None:
    append_one(other_database)
    with pytest.raises(TargetNotEmpty):
        replay_events(log, other_database, 600, Progress())
    check_fence(other_database)
    with pytest.raises(TargetIsSource, match="is the one that the log is in"):
        replay_events(log, log, 600, Progress())
    check_fence(log)


def test_an_emptied_database_is_nobodys_replay_any_more(log: str, other_database: str) -> None:
    replay_events(log, other_database, 10, Progress())
    migrate_down(other_database)
    migrate(other_database)
    check_fence(other_database)
    assert not remove_fence(other_database)


SOME_INSTANT, HERE = "2026-01-01T00:00:00Z", "the target"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--until", "2999-01-01T00:00:00Z", "--to", HERE], 1, "lies in the future"),
        (
            ["--until-position", "100000", "--to", HERE],
            1,
            "100000 lies in the future, for the log ends at position",
        ),
        (["--until-position", "1", "--to", "not a dsn"], 1, "is named by no connection string"),
        (
            ["--until", SOME_INSTANT, "--until-position", "1", "--to", HERE],
            2,
            "both name the moment: give one of",
        ),
        (["--until", "2026-01-01T00:00:00", "--to", HERE], 2, "an instant with its offset"),
        *(
            (wrong, 2, "")
            for wrong in ([], ["tasks", "--release"], ["--until-position", "1"], ["--to", HERE])
        ),
    ],
)
def test_a_replay_that_cannot_be_done_is_told(
    database: str, other_database: str, run: Run, arguments: list[str], code: int, said: str
) -> None:
    append_one(database)
    refused = run(database, "replay", *(other_database if each == HERE else each for each in arguments))
    assert refused.returncode == code
    assert said in refused.stderr
    with psycopg.connect(other_database) as connection:
        assert connection.execute("SELECT to_regclass('standstill')").fetchone() == (None,)


def test_a_target_that_is_not_there_is_told(database: str, run: Run) -> None:
    append_one(database)
    missing = make_conninfo(database, dbname="no_such_thing")
    uncreated = run(database, "replay", "--until-position", "1", "--to", missing)
    assert uncreated.returncode == 1
    assert 'There is no database "no_such_thing": create it, or correct --to. ' in uncreated.stderr


def test_parked_events_are_replayed_as_ever(log: str, run: Run) -> None:
    asyncio.run(read_models(log))
    replayed = run(log, "replay", "tasks")
    assert replayed.returncode == 0, replayed.stderr
    assert "parked events of tasks applied" in replayed.stdout
