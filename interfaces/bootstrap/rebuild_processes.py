"""Processes that fold a log together, a share each."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path, PurePosixPath

import uvloop

from application.ports import ArchiveAway
from infrastructure.logs import configure
from infrastructure.projector.reading import WholeLog
from infrastructure.projector.rebuild import EventRefused, fold_share
from infrastructure.projector.workplace import NewTablesLost, Share
from infrastructure.settings import Settings
from interfaces.bootstrap.database import DatabaseUnusable, NotPermitted, TablesMissing, in_sentences
from interfaces.bootstrap.transfer import catalog
from projections import named

# Fewer events are folded before other processes have begun to help.
WORTH_SHARING = 200_000
# Postgres takes a third of the CPU that they do, and what is left is for the service.
MOST_PROCESSES = 4
# What one takes, with answers of some size among what it folds.
PROCESS_BYTES = 256 * 1024 * 1024
# Where Linux tells the control groups (v2) of a process, and their limits.
OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
FAILED, REFUSED, LOST = 1, 3, 4
ENDING_SECONDS = 5.0

_TOLD = (ArchiveAway, DatabaseUnusable, NotPermitted, TablesMissing)


class ShareFailed(Exception):
    """A process that folds a share of the log has ended too early."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason.rstrip('.')}. `chronoledger rebuild` goes on where it was.")


class Processes:
    """They are started for each log, and end with the process that started them, however that ends."""

    def __init__(self, settings: Settings, asked: int | None) -> None:
        """At most `asked` at a time; None: as many as this one may use cores and memory for, four at most."""
        self._settings = settings
        self._asked = asked
        self._at_once = asked or _fitting()

    def number(self, events: int) -> int:
        """See `Workers`; a small log is not worth more than one, unless more are asked for."""
        return self._at_once if self._asked is not None or events >= WORTH_SHARING else 1

    async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
        """See `Workers`. Raises `ShareFailed` and `NewTablesLost`."""
        turns = asyncio.Semaphore(self._at_once)

        async def one(number: int) -> None:
            async with turns:
                await self._fold(projections, Share(number, shares), until)

        folding = [asyncio.create_task(one(number)) for number in range(1, shares + 1)]
        try:
            for folded in asyncio.as_completed(folding):
                await folded
        finally:
            for task in folding:
                task.cancel()
            await asyncio.gather(*folding, return_exceptions=True)

    async def _fold(self, projections: Sequence[str], share: Share, until: int) -> None:
        # A fork of a process with connections would have them as well.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(self._settings, projections, share, until, theirs), daemon=True
        )
        with contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            with _no_interrupts():
                process.start()
            stack.callback(_end, process)
            theirs.close()
            if code := await _ended(process):
                raise _failure(code, ours)


def _fitting() -> int:
    """How many processes there are cores and memory for, with what this one takes itself."""
    limit = memory_limit()
    by_memory = MOST_PROCESSES if limit is None else limit // PROCESS_BYTES - 1
    return max(1, min(MOST_PROCESSES, usable_cores(), by_memory))


def usable_cores() -> int:
    """Whole ones, at least one: those that it may run on, within the CPU quota of its control groups (v2)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = float(allowed or 1)
    for quota in _limits("cpu.max"):
        most, period = quota.split()
        if most != "max":
            cores = min(cores, int(most) / int(period))
    return max(1, int(cores))


def memory_limit() -> int | None:
    """Bytes that its control groups (v2) let it have; None: as many as there are."""
    return min((int(limit) for limit in _limits("memory.max") if limit != "max"), default=None)


def _limits(name: str) -> Iterator[str]:
    """What the files of that name say, from its own group up to the first; nothing where there are none."""
    try:
        lines = os.fsdecode(OWN_CGROUPS.read_bytes()).splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("0::/"):
            own = PurePosixPath(line.removeprefix("0::/"))
            for group in (own, *own.parents):
                try:
                    yield (CGROUPS / group / name).read_text(encoding="ascii").strip()
                except OSError:
                    continue


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """What is started within hears no Ctrl-C: that is for this process, which ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _ended(process: SpawnProcess) -> int:
    """Its exit code, once it has one."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return FAILED if process.exitcode is None else process.exitcode


def _failure(code: int, told: Connection) -> Exception:
    if code == REFUSED:
        return EventRefused()
    return NewTablesLost() if code == LOST else ShareFailed(_reason(code, told))


def _reason(code: int, told: Connection) -> str:
    with contextlib.suppress(EOFError):
        if told.poll():
            return str(told.recv())
    if code == -signal.SIGKILL:
        return "a process of the rebuild was killed, as happens where memory is short; see `--processes`"
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    return f"a process of the rebuild ended with {how}; the lines above may say why"


def _end(process: SpawnProcess) -> None:
    """Its transaction is rolled back by the database, as if it had never begun."""
    process.terminate()
    process.join(ENDING_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _work(settings: Settings, projections: Sequence[str], share: Share, until: int, told: Connection) -> None:
    """What each process does."""
    configure(settings, "rebuild")
    try:
        with in_sentences(settings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_fold_share(settings, projections, share, until))
    except EventRefused:
        sys.exit(REFUSED)
    except NewTablesLost:
        sys.exit(LOST)
    except _TOLD as error:
        told.send(str(error))
        sys.exit(FAILED)


async def _fold_share(settings: Settings, projections: Sequence[str], share: Share, until: int) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    asyncio.get_running_loop().add_reader(parent.sentinel, os._exit, FAILED)
    await fold_share(settings.direct_dsn(), named(projections), share, WholeLog(catalog(settings)), until)
