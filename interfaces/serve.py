"""`chronoledger serve`: everything on one machine; API here, scheduler and projector as children."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import structlog

from interfaces import bootstrap
from interfaces.listening import address, listen
from interfaces.roles import run, serve_until, stop_event

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from interfaces.bootstrap import EmbeddedPostgres, Settings

CHILD_ROLES = ("projector", "scheduler")
POLL_SECONDS = 0.5
RESTART_SECONDS = 1.0
# The children's own grace comes first.
EXTRA_GRACE_SECONDS = 5.0

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> int:
    """Serve until stopped; without a configured database on an embedded Postgres.

    Raises `AddressUnusable`, `EmbeddedPostgresError` and `DatabaseUnusable`.
    """
    with listen(settings.host, settings.port) as listening, contextlib.ExitStack() as stack:
        postgres: EmbeddedPostgres | None = None
        if not settings.database_configured:
            postgres, settings = stack.enter_context(bootstrap.embedded(settings))
        bootstrap.prepare_database(settings)
        bootstrap.prepare_multiprocess(settings.data_dir / "metrics" / str(listening.getsockname()[1]))
        return run(_serve(settings, listening, postgres))


async def _serve(settings: Settings, listening: socket.socket, postgres: EmbeddedPostgres | None) -> int:
    stop = stop_event()
    environment = _environment(settings)
    async with contextlib.AsyncExitStack() as stack:
        # Stopped in the opposite order: the projector sees the scheduler's last outcomes.
        for role in CHILD_ROLES:
            await stack.enter_async_context(Child(role, environment, settings.shutdown_grace_seconds))
        if postgres is not None:
            await stack.enter_async_context(bootstrap.background(_keep_alive(postgres)))
        app = await stack.enter_async_context(bootstrap.api(settings))
        log.info(
            "chronoledger is up",
            api=f"{address(listening)}/api/v1",
            documentation=f"{address(listening)}/swagger/index.html",
            database="embedded" if postgres else "configured",
        )
        await serve_until(app, listening, stop, settings.shutdown_grace_seconds)
    return 0


def _environment(settings: Settings) -> Mapping[str, str]:
    """The children's: what this process was given, and the database that it found or started."""
    environment = dict(os.environ)
    if settings.sources.get("DATABASE_URL") == "embedded":
        environment["DATABASE_URL"] = settings.dsn()
    environment["NODE_NAME"] = settings.node_name
    return environment


async def _keep_alive(postgres: EmbeddedPostgres) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if (code := postgres.poll()) is not None:
            log.error("the embedded Postgres ended by itself; starting it again", exit_code=code)
            # On this thread: the postmaster ends with the thread that started it.
            postgres.start()


class Child:
    """A role in a process of its own, started again whenever it ends."""

    def __init__(self, role: str, environment: Mapping[str, str], grace_seconds: float) -> None:
        self._role = role
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Child:
        await self._start()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._stop()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "interfaces.cli", self._role, "--child"),
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
            # Ctrl-C is for the parent, which stops its children in order.
            start_new_session=True,
        )

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            bootstrap.forget_process(self._process.pid)
            log.error("a child ended by itself; starting it again", child=self._role, exit_code=code)
            await asyncio.sleep(RESTART_SECONDS)
            await self._start()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(self._grace_seconds + EXTRA_GRACE_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
