"""Processes that fold a log together, a share each."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from application.archived import ArchiveAway
from infrastructure.database import with_liveness
from infrastructure.logs import configure
from infrastructure.projector import EventsParked, Share, WholeLog, fold_share
from interfaces.bootstrap.archives import library
from projections.catalogue import named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import SpawnProcess

    from infrastructure.settings import Settings

# Fewer events are folded before other processes have begun to help.
WORTH_SHARING = 200_000
# Postgres takes a third of the CPU that they do, and what is left is for the service.
MOST_PROCESSES = 4
PARKED = 3
ENDING_SECONDS = 5.0


class ShareFailed(Exception):
    """A process that folds a share of the log has ended too early."""

    def __init__(self, code: int) -> None:
        how = f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        super().__init__(
            f"a process of the rebuild {how}; lines above may say why. The same command goes on where it "
            "was; with `--anew --processes 1` one process does it alone"
        )


class Processes:
    """They are started for each log, and end with the process that started them, however that ends."""

    def __init__(self, settings: Settings, asked: int | None) -> None:
        """`asked`: so many; None: as many as there are cores, but four at most, where that saves time."""
        self._settings = settings
        self._asked = asked

    def number(self, events: int) -> int:
        """See `Workers`."""
        if self._asked is not None:
            return self._asked
        return min(len(os.sched_getaffinity(0)), MOST_PROCESSES) if events >= WORTH_SHARING else 1

    async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
        """See `Workers`. Raises `ShareFailed`."""
        # A fork of a process with threads and connections would have them as well.
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(
                target=_fold, args=(self._settings, projections, Share(number, shares), until), daemon=True
            )
            for number in range(1, shares + 1)
        ]
        try:
            for process in processes:
                process.start()
            for ended in asyncio.as_completed(map(_ended, processes)):
                if code := await ended:
                    raise EventsParked if code == PARKED else ShareFailed(code)
        finally:
            for process in processes:
                _end(process)


async def _ended(process: SpawnProcess) -> int:
    """Its exit code, once it has one."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return process.exitcode or 0


def _end(process: SpawnProcess) -> None:
    """Its transaction is rolled back by the database, as if it had never begun."""
    if process.pid is None:
        return
    process.terminate()
    process.join(ENDING_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _fold(settings: Settings, projections: Sequence[str], share: Share, until: int) -> None:
    """What each process does. Ctrl-C is for the first one, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure(settings, "rebuild")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_fold_share(settings, projections, share, until))
        except EventsParked:
            sys.exit(PARKED)
        except ArchiveAway as error:
            sys.exit(str(error))


async def _fold_share(settings: Settings, projections: Sequence[str], share: Share, until: int) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    asyncio.get_running_loop().add_reader(parent.sentinel, os._exit, 1)
    dsn = with_liveness(settings.direct_dsn())
    await fold_share(dsn, named(projections), share, WholeLog(library(settings)), until)
