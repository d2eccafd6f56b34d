"""Running one role in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import uvloop

from interfaces import bootstrap
from interfaces.listening import address, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any, Literal

    from litestar import Litestar

    from interfaces.bootstrap import Settings

    type Role = Literal["api", "projector", "scheduler"]

# Its batches wait for nobody to the millisecond; calls do, and so do claims, outcomes and requests.
PROJECTOR_NICE = 10
# After the parent is gone the database may be too: waiting for it any longer would keep a ghost around.
ORPHAN_SECONDS = 5.0
# One signal may arrive as several: make and timeout pass theirs on, and a process group gets them all.
SAME_SIGNAL_SECONDS = 1.0

log = structlog.get_logger(__name__)


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run an asynchronous main on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def run_role(settings: Settings, role: Role, *, child: bool) -> int:
    """Run a role to its end; a `child` serves no pages of its own and ends with its parent.

    Raises `AddressUnusable`.
    """
    if role == "api":
        return run(_api(settings, listen(settings.host, settings.port)))
    if role == "projector":
        bootstrap.give_way(PROJECTOR_NICE)
    listening = None if child else listen(settings.host, settings.port)
    return run(_worker(settings, role, listening))


async def _api(settings: Settings, listening: socket.socket) -> int:
    stop = stop_event()
    async with bootstrap.api(settings) as app:
        await serve_until(app, listening, stop, settings.shutdown_grace_seconds)
    return 0


async def _worker(settings: Settings, role: Role, listening: socket.socket | None) -> int:
    stop = stop_event()
    if listening is None:
        _stop_with_parent(stop)
    engine = bootstrap.scheduler(settings) if role == "scheduler" else bootstrap.projector(settings)
    async with engine as (work, make_app):
        pages = asyncio.create_task(_pages(make_app, listening, stop, settings))
        failed = await _work_until(work(), stop)
        stop.set()
        await pages
    return 1 if failed else 0


async def _pages(
    make_app: Callable[[], Litestar],
    listening: socket.socket | None,
    stop: asyncio.Event,
    settings: Settings,
) -> None:
    if listening is not None:
        await serve_until(make_app(), listening, stop, settings.shutdown_grace_seconds)


async def _work_until(work: Awaitable[None], stop: asyncio.Event) -> bool:
    """Whether the work failed before it was told to stop."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    working.cancel()
    try:
        await working
    except asyncio.CancelledError:
        return False
    except bootstrap.StandsStill as refusal:
        log.error(str(refusal))  # noqa: TRY400
    except Exception:
        log.exception("the work ended with an error")
    return True


async def serve_until(app: Litestar, listening: socket.socket, stop: asyncio.Event, grace: float) -> None:
    """Serve requests until told to stop, then let those under way finish within the grace (seconds).

    Raises what the server ended with, if it ended untold; everything else is told to stop then.
    """
    from interfaces.server import server  # noqa: PLC0415 - a process without pages does not pay for it

    web = server(app, grace)
    serving = asyncio.create_task(web.serve(sockets=[listening]))
    log.info("serving", url=address(listening))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    told = stop.is_set()
    stop.set()
    web.should_exit = True
    await serving
    if not told:
        raise RuntimeError("the web server ended by itself; the lines above say why")


def stop_event() -> asyncio.Event:
    """Set by SIGTERM, SIGINT and a terminal that is closed.

    A further signal, more than a second later, ends the process at once.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    impatient_from: float | None = None

    def on_signal(number: signal.Signals) -> None:
        nonlocal impatient_from
        if impatient_from is None:
            impatient_from = loop.time() + SAME_SIGNAL_SECONDS
            log.info(
                "stopping; another Ctrl-C, more than a second later, ends it at once", signal=number.name
            )
            stop.set()
        elif loop.time() > impatient_from:
            os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(number, on_signal, number)
    return stop


def _stop_with_parent(stop: asyncio.Event) -> None:
    """The parent holds the other end of stdin: its end is the end of this process, however it came."""
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def on_readable() -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(stdin, 1024):
                return
            loop.remove_reader(stdin)
            stop.set()
            loop.call_later(ORPHAN_SECONDS, os._exit, 1)

    os.set_blocking(stdin, False)
    loop.add_reader(stdin, on_readable)
