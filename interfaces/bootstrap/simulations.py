"""Simulations: for the API, and as a one-shot job on a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.what_if.simulator import Simulator
from infrastructure.archive.shelf import Shelf
from infrastructure.clock import SystemClock
from infrastructure.database import pool, with_liveness
from infrastructure.event_store import Appender, PostgresEventLog
from infrastructure.past import PostgresPast
from infrastructure.what_if import PostgresRuns
from interfaces.bootstrap.archives import library
from projections.reader import ReadModels

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from application.explanation.claims import Now, Streams
    from infrastructure.settings import Settings
    from interfaces.http.simulation_body import UnreadSimulation
    from interfaces.simulating import Simulated


def simulator(connections: AsyncConnectionPool, log: Streams, shelf: Shelf, clock: Now) -> Simulator:
    """The simulator over a database; `log` reads what is archived, too."""
    return Simulator(log, PostgresRuns(connections, log), PostgresPast(connections, shelf), clock)


async def simulated(settings: Settings, asked: UnreadSimulation) -> Simulated:
    """The answer to a question. Raises `InvalidBody`, `TaskNotFound`, `NotYet` and `TooMuchToSimulate`."""
    from interfaces.simulating import simulate  # noqa: PLC0415 - it comes with the web framework

    dsn, clock = with_liveness(settings.dsn()), SystemClock()
    async with pool(dsn, 2) as connections, Appender(dsn) as appender:
        shelf = Shelf(connections, library(settings))
        engine = simulator(connections, PostgresEventLog(connections, appender, shelf), shelf, clock)
        return await simulate(asked, ReadModels(connections), engine, clock.now(), settings.default_timezone)
