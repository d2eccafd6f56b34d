"""Running one role in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop

from interfaces import bootstrap
from interfaces.listening import address, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from typing import Any, Literal

    from litestar import Litestar

    from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
    from infrastructure.settings import Settings

type Role = Literal["api", "projector", "scheduler"]

# Its batches wait for nobody to the millisecond; calls do, and so do claims, outcomes and requests.
PROJECTOR_NICE = 10
# The weight of a session among others, where Linux weighs them.
OWN_SESSION = Path("/proc/self/autogroup")
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
    bootstrap.raise_descriptor_limit()
    if role == "api":
        return run(_api(settings, listen(settings.host, settings.port)))
    if role == "projector":
        give_way(PROJECTOR_NICE)
    listening = None if child else listen(settings.host, settings.port)
    return run(_worker(settings, role, listening))


def give_way(nice: int) -> None:
    """Have others go first where cores are short: a nice value from 1 to 19, unless this process is nicer.

    Where Linux weighs sessions (`sched_autogroup`), that of its session counts instead, if that is its own.
    Where the system refuses it, nothing changes.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            present = int(OWN_SESSION.read_text(encoding="ascii").split()[-1])
            OWN_SESSION.write_text(str(max(nice, present)), encoding="ascii")


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
    except bootstrap.Fenced as refusal:
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


CHILD_ROLES = ("projector", "scheduler")
POLL_SECONDS = 1.0
READY_POLL_SECONDS = 0.1
RESTART_SECONDS = 1.0
# Whoever ends as soon as it is started is started less and less often.
LONGEST_RESTART_SECONDS = 30.0
SETTLED_SECONDS = 60.0
# The children's own grace comes first.
EXTRA_GRACE_SECONDS = 5.0


def serve(settings: Settings) -> int:
    """Serve until stopped; without a configured database on an embedded Postgres.

    Raises `AddressUnusable`, `EmbeddedPostgresError`, `LogDirectoryUnusable`, `DatabaseUnusable`,
    `MigrationRefused` and `Fenced`.
    """
    bootstrap.raise_descriptor_limit()
    with listen(settings.host, settings.port) as listening, contextlib.ExitStack() as stack:
        postgres: EmbeddedPostgres | None = None
        if not settings.database_configured:
            postgres, settings = stack.enter_context(bootstrap.embedded(settings))
        bootstrap.prepare_database(settings)
        bootstrap.check_fence(settings.direct_dsn())
        stack.enter_context(bootstrap.shared_metrics(settings, listening.getsockname()[1]))
        return run(_serve(settings, listening, postgres))


async def _serve(settings: Settings, listening: socket.socket, postgres: EmbeddedPostgres | None) -> int:
    stop = stop_event()
    environment = _environment(settings)
    async with contextlib.AsyncExitStack() as stack:
        # Stopped in the opposite order: the projector sees the scheduler's last outcomes.
        _, scheduler = [
            await stack.enter_async_context(Child(role, environment, settings.shutdown_grace_seconds))
            for role in CHILD_ROLES
        ]
        if postgres is not None:
            await stack.enter_async_context(bootstrap.background(_keep_alive(postgres)))
        app = await stack.enter_async_context(bootstrap.api(settings))
        log.info(
            "chronoledger is up",
            api=f"{address(listening)}/api/v1",
            documentation=f"{address(listening)}/swagger/index.html",
            database="embedded" if postgres else "configured",
        )
        await asyncio.gather(
            serve_until(app, listening, stop, settings.shutdown_grace_seconds), _stopped_with(stop, scheduler)
        )
    return 0


async def _stopped_with(stop: asyncio.Event, scheduler: Child) -> None:
    """Nothing more is claimed, however long the API's last requests take."""
    await stop.wait()
    await scheduler.stop()


def _environment(settings: Settings) -> Mapping[str, str]:
    """The children's: what this process was given, and the database that it found or started."""
    environment = dict(os.environ)
    if settings.sources.get("DATABASE_URL") == "embedded":
        environment["DATABASE_URL"] = settings.dsn()
        environment["AUDIT_KEY_FILE"] = str(settings.audit_key_file)
        environment["ARCHIVE_DIR"] = str(settings.archive_dir)
    environment["NODE_NAME"] = settings.node_name
    return environment


async def _keep_alive(postgres: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if (code := postgres.poll()) is not None:
            log.error("the embedded Postgres ended by itself; starting it again", exit_code=code)
            await _start_again(postgres)


async def _start_again(postgres: EmbeddedPostgres) -> None:
    """Requests are answered and signals heard meanwhile: only the launch has to be on this thread."""
    while True:
        try:
            await asyncio.to_thread(postgres.prepare)
            postgres.launch()
            while not await asyncio.to_thread(postgres.is_ready):  # noqa: ASYNC110 - nobody else could tell
                await asyncio.sleep(READY_POLL_SECONDS)
        except bootstrap.EmbeddedPostgresError as error:
            log.error("the embedded Postgres does not start; trying again", error=str(error))  # noqa: TRY400
            await asyncio.sleep(RESTART_SECONDS)
        else:
            log.info("the embedded Postgres is back")
            return


class Child:
    """A role in a process of its own, started again whenever it ends."""

    def __init__(self, role: str, environment: Mapping[str, str], grace_seconds: float) -> None:
        self._role = role
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Child:
        await self._start()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Have it end for good, killed when its grace is over; whoever asks waits for the same end."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._end())
        await self._stopping

    async def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._terminate()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            # -P: a folder `domain` where the service was started is not this program's.
            *("-P", "-m", "interfaces.cli.main", self._role, "--child"),
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
            # Ctrl-C is for the parent, which stops its children in order.
            start_new_session=True,
        )

    async def _watch(self) -> None:
        loop, pause = asyncio.get_running_loop(), RESTART_SECONDS
        while True:
            assert self._process is not None
            started = loop.time()
            code = await self._process.wait()
            bootstrap.forget_process(self._process.pid)
            log.error("a child ended by itself; starting it again", child=self._role, exit_code=code)
            pause = RESTART_SECONDS if loop.time() > started + SETTLED_SECONDS else pause
            await self._start_again(pause)
            pause = min(2 * pause, LONGEST_RESTART_SECONDS)

    async def _start_again(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._start()
            except OSError as error:  # the machine is short of memory or of processes: that passes
                log.error("a child does not start; trying again", child=self._role, error=str(error))  # noqa: TRY400

    async def _terminate(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(self._grace_seconds + EXTRA_GRACE_SECONDS):
                    await process.wait()
            except TimeoutError:
                log.warning("a child did not end in time; killing it", child=self._role)
                process.kill()
                await process.wait()
