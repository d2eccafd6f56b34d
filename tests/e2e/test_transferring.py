"""`chronoledger export` and `import` as processes that are killed in the middle, again and again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.e2e.client import Client
from tests.support.projecting import connect
from tests.support.sealing import seal
from tests.support.service import PROGRAM, Service, until
from tests.support.transfers import events, fill, read_models, seals

EVENTS = 30_000


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with a log of several parts, sealed."""
    asyncio.run(fill(database, EVENTS))
    asyncio.run(_sealed(database))
    return database


async def _sealed(dsn: str) -> None:
    async with await connect(dsn) as connection:
        await seal(connection)


def command(folder: Path, dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    service = Service(folder, DATABASE_URL=dsn)
    try:
        return service.run(*arguments)
    finally:
        service.close()


def killed_once(reached: Callable[[], bool], folder: Path, dsn: str, *arguments: str) -> None:
    """Run a command until something is reached, and kill it then."""
    service = Service(folder, DATABASE_URL=dsn)
    process = subprocess.Popen([PROGRAM, *arguments], cwd=folder, env=service.environment())
    try:
        until(lambda: reached() or process.poll() is not None, "it has come that far")
    finally:
        process.kill()
        process.wait()
        service.close()


def test_a_part_of_a_log_in_an_embedded_database_is_looked_at_there(database: str, folder: Path) -> None:
    asyncio.run(fill(database, 300))
    assert command(folder, database, "export", "--out", "part.zst", "--to", "250").returncode == 0
    created = events(database, "topic = 'task.created.v1' AND notification_id <= 250")
    tasks = {str(row[0]) for row in created if b'"namespace":"default"' in row[3]}
    elsewhere = Service(folder, "api")
    try:
        imported = elsewhere.run("import", "part.zst", "--partial")
        assert "NO SCHEDULER BEGINS" in imported.stdout, imported.stderr
        refused = elsewhere.run("serve")
        assert refused.returncode == 1
        assert "holds a part of a log" in refused.stderr
        elsewhere.start(healthy=False)
        assert {task["id"] for task in Client(elsewhere.url).all("/tasks")} == tasks
        assert elsewhere.stop() == 0
        assert elsewhere.processes() == []
    finally:
        elsewhere.close()


def stored(dsn: str) -> int:
    """How many events are committed."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    return row[0] if row else 0


@pytest.mark.race
def test_a_log_arrives_whole_though_both_sides_are_killed_in_the_middle(
    log: str, other_database: str, folder: Path
) -> None:
    archive, unfinished = folder / "log.zst", folder / "log.zst.part"
    assert command(folder, log, "export", "--out", "undisturbed.zst").returncode == 0
    whole = (folder / "undisturbed.zst").stat().st_size
    for share in (0.001, 0.3, 0.6):
        far_enough = int(share * whole)
        killed_once(
            lambda size=far_enough: unfinished.exists() and unfinished.stat().st_size >= size,  # type: ignore[misc]
            *(folder, log, "export", "--out", archive.name),
        )
    if not archive.exists():  # the last one may have been too fast
        exported = command(folder, log, "export", "--out", archive.name)
        assert exported.returncode == 0, exported.stderr
    assert archive.read_bytes() == (folder / "undisturbed.zst").read_bytes()

    for share in (0.001, 0.3, 0.6):
        enough = int(share * EVENTS)
        killed_once(
            lambda count=enough: stored(other_database) >= count,  # type: ignore[misc]
            *(folder, other_database, "import", archive.name),
        )
    imported = command(folder, other_database, "import", archive.name)
    assert imported.returncode == 0, imported.stderr
    assert "; " in imported.stdout.splitlines()[0], "it says what was there"
    assert events(other_database) == events(log)
    assert asyncio.run(read_models(other_database)) == asyncio.run(read_models(log))
    assert seals(other_database) == seals(log)
    assert seals(log)["tree_heads"]
    for proof in ("check", "verify"):
        checked = command(folder, other_database, proof)
        assert checked.returncode == 0, checked.stdout + checked.stderr
