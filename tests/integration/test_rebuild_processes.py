"""The processes of a rebuild: they fold what they are told, say why they fail, and outlive nobody."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.workplace import NewTablesLost
from infrastructure.settings import Settings
from interfaces.bootstrap import rebuild_processes
from interfaces.bootstrap.rebuild_processes import Processes, ShareFailed
from projections import NAMES, PROJECTIONS
from tests.support.entries import created, updated
from tests.support.projecting import connect, contents, project, until
from tests.support.random_log import RandomLog
from tests.support.stored import append
from tests.support.supervisor import is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENTS = 1_000
ROOT = Path(__file__).resolve().parents[2]


def processes(dsn: str, asked: int | None = 2) -> Processes:
    return Processes(Settings(database_url=dsn), asked)


@contextlib.contextmanager
def held_up(dsn: str) -> Iterator[None]:
    """Nobody who rebuilds can apply a batch for the length of the block."""
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE rebuilding.projection_checkpoints IN EXCLUSIVE MODE")
        yield


async def wait_for(dsn: str, processes: int) -> None:
    """Until so many are held up."""

    async def held() -> bool:
        async with await connect(dsn) as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            return await cursor.fetchone() == (processes,)

    await until(held)


class HeldUp(Processes):
    """Processes that find the tables locked, until they are let go."""

    def __init__(self, dsn: str, asked: int) -> None:
        super().__init__(Settings(database_url=dsn), asked)
        self.let_go = asyncio.Event()

    async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
        folding = asyncio.create_task(super().fold(projections, shares, until))
        letting_go = asyncio.create_task(self.let_go.wait())
        try:
            with held_up(self._settings.dsn()):
                await asyncio.wait((folding, letting_go), return_when=asyncio.FIRST_COMPLETED)
            await folding
        finally:
            letting_go.cancel()
            folding.cancel()
            await asyncio.wait((folding,))


async def log_of(dsn: str, events: int = EVENTS) -> None:
    async with await connect(dsn) as connection:
        await append(connection, RandomLog(6).grow(events))
        await project(connection)


async def test_they_come_to_the_rows_of_one(database: str) -> None:
    await log_of(database)
    async with await connect(database) as connection:
        before = await contents(connection)
        await connection.execute("UPDATE closed_results SET reason = 'spoiled'")
        assert await rebuild(database, PROJECTIONS, workers=processes(database)) == (EVENTS, 0)
        assert await contents(connection) == before
    assert multiprocessing.active_children() == []


async def test_what_they_cannot_apply_is_told(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), updated(name="n" * 256), *RandomLog(5).grow(50)])
    assert (await rebuild(database, PROJECTIONS, workers=processes(database))).parked == 1


async def test_one_that_fails_ends_them_all_and_the_next_goes_on(
    database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await log_of(database)
    nowhere = processes("host=127.0.0.1 port=1 dbname=nowhere")
    with pytest.raises(
        ShareFailed, match=r"The database .*port 1.* `chronoledger rebuild` goes on where it was\."
    ):
        await rebuild(database, PROJECTIONS, workers=nowhere)
    assert "Traceback" not in capfd.readouterr().err
    assert multiprocessing.active_children() == []
    assert await rebuild(database, PROJECTIONS, workers=processes(database)) == (EVENTS, 0)


async def test_one_that_fails_unexpectedly_shows_what_it_ended_with(
    database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with await connect(database) as connection:
        await append(connection, [created()])
    with pytest.raises(ShareFailed, match="exit code 1; the lines above may say why"):
        await processes(database).fold(["unknown"], 2, 1)
    assert "UnknownProjection" in capfd.readouterr().err


async def test_tables_that_are_not_there_are_told_of_as_such(database: str) -> None:
    await log_of(database, 10)
    with pytest.raises(NewTablesLost, match="rebuild again"):
        await processes(database).fold(NAMES, 2, 10)


async def test_one_that_is_killed_is_told_of(database: str) -> None:
    await log_of(database)
    workers = HeldUp(database, 2)
    rebuilding = asyncio.create_task(rebuild(database, PROJECTIONS, workers=workers))

    await wait_for(database, 2)
    pid = multiprocessing.active_children()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ShareFailed, match="was killed, as happens where memory is short; see `--processes`"):
        await rebuilding
    assert multiprocessing.active_children() == []
    assert await rebuild(database, PROJECTIONS, workers=processes(database)) == (EVENTS, 0)


async def test_ctrl_c_is_for_the_one_that_started_them(database: str) -> None:
    await log_of(database)
    workers = HeldUp(database, 2)
    rebuilding = asyncio.create_task(rebuild(database, PROJECTIONS, workers=workers))

    await wait_for(database, 2)
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGINT)
    workers.let_go.set()
    assert await rebuilding == (EVENTS, 0)


async def test_who_goes_on_with_fewer_folds_the_shares_in_turn(database: str) -> None:
    await log_of(database)
    with pytest.raises(ShareFailed):
        await rebuild(database, PROJECTIONS, workers=processes("host=127.0.0.1 port=1 dbname=nowhere"))
    workers = HeldUp(database, 1)
    rebuilding = asyncio.create_task(rebuild(database, PROJECTIONS, workers=workers))

    await wait_for(database, 1)
    assert len(multiprocessing.active_children()) == 1
    workers.let_go.set()
    assert await rebuilding == (EVENTS, 0)


async def test_they_end_with_a_rebuild_that_is_broken_off(database: str) -> None:
    await log_of(database)
    workers = HeldUp(database, 3)
    rebuilding = asyncio.create_task(rebuild(database, PROJECTIONS, workers=workers))

    await wait_for(database, 3)
    rebuilding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rebuilding
    assert multiprocessing.active_children() == []


async def test_they_end_with_the_process_that_started_them(database: str) -> None:
    await log_of(database)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Processes, "fold", _nothing)
        with pytest.raises(ShareFailed):
            await rebuild(database, PROJECTIONS, workers=processes(database))
    program = (
        "import asyncio, sys\n"
        "from infrastructure.settings import Settings\n"
        "from interfaces.bootstrap.rebuild_processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    workers = Processes(Settings(database_url=sys.argv[1]), 2)\n"
        f"    asyncio.run(workers.fold({NAMES!r}, 2, {EVENTS}))\n"
    )
    with held_up(database), subprocess.Popen([sys.executable, "-c", program, database], cwd=ROOT) as parent:

        async def all_ended() -> bool:
            return all(map(is_gone, children))

        await wait_for(database, 2)
        listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text(encoding="ascii")
        children = [int(pid) for pid in listed.split()]
        assert len(children) >= 2
        parent.kill()
        await until(all_ended)


async def _nothing(self: Processes, projections: Sequence[str], shares: int, until: int) -> None:
    raise ShareFailed("ended")


@pytest.mark.parametrize(
    ("cores", "memory", "fitting"),
    [
        (16, None, rebuild_processes.MOST_PROCESSES),
        (2, None, 2),
        (1, None, 1),
        (4, 8 * 2**30, 4),
        (4, 2**30, 3),
        (4, 512 * 2**20, 1),
        (4, 128 * 2**20, 1),
    ],
)
def test_there_are_as_many_as_there_are_cores_and_memory_for(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: int | None, fitting: int
) -> None:
    monkeypatch.setattr(rebuild_processes, "usable_cores", lambda: cores)
    monkeypatch.setattr(rebuild_processes, "memory_limit", lambda: memory)
    assert processes("", None).number(rebuild_processes.WORTH_SHARING) == fitting
    assert processes("", None).number(rebuild_processes.WORTH_SHARING - 1) == 1, "a small log is for one"
    assert processes("", 3).number(1) == 3
