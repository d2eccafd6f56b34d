"""What goes wrong, in a seeded order: processes die or freeze, the database restarts, connections are cut."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from tests.e2e.cluster import SCHEDULERS, freeze, thaw

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.e2e.cluster import Cluster
    from tests.e2e.outage import Outage
    from tests.support.own_postgres import OwnPostgres
    from tests.support.service import Service

# The latest lease that a scheduler holds, whichever of its runs claimed it.
LAST_LEASE = """
SELECT max((fact ->> 'lease_until')::timestamptz)
FROM (
    SELECT convert_from(state, 'UTF8')::jsonb -> 'fact' AS fact FROM events
    WHERE topic IN ('execution.started.v1', 'execution.attempt_started.v1', 'execution.taken_over.v1')
) AS claims
WHERE fact ->> 'node' LIKE %s || '.%%'
"""
EXPIRY_SECONDS = 3
BEYOND = timedelta(seconds=EXPIRY_SECONDS + 1)


class Chaos:
    """Every scheduler is killed once and two of them freeze; `done` counts what was done."""

    def __init__(self, cluster: Cluster, postgres: OwnPostgres, link: Outage, random: Random) -> None:
        self.done: Counter[str] = Counter()
        self._cluster = cluster
        self._postgres = postgres
        self._link = link
        self._random = random

    def reign(self, start: datetime, end: datetime) -> None:
        """Disturb from `start` to about `end`, then leave everything running."""
        disturbances = self._disturbances()
        self._random.shuffle(disturbances)
        step = (end - start) / len(disturbances)
        for number, disturb in enumerate(disturbances):
            _sleep_until(start + step * (number + self._random.random() / 2))
            disturb()

    def _disturbances(self) -> list[Callable[[], None]]:
        victims = self._random.sample(self._cluster.schedulers, SCHEDULERS)
        return [
            *(partial(self._kill, victim) for victim in victims),
            *(partial(self._freeze_beyond_the_lease, sleeper) for sleeper in victims[:2]),
            *[self._cut] * 3,
            self._restart_postgres,
            self._restart_postgres_immediately,
        ]

    def _kill(self, victim: Service) -> None:
        victim.kill()
        self._tell("schedulers killed")
        _sleep_until(datetime.now(UTC) + BEYOND * self._random.random())
        victim.start(healthy=False)

    def _freeze_beyond_the_lease(self, sleeper: Service) -> None:
        """All lose their connections meanwhile; it wakes when the others have long gone on without it."""
        with ExitStack() as stack:
            freeze(sleeper)
            stack.callback(thaw, sleeper)
            self._tell("schedulers frozen")
            self._cut()
            self._outlast(sleeper)

    def _outlast(self, sleeper: Service) -> None:
        with psycopg.connect(self._postgres.dsn) as connection:
            [(lease,)] = connection.execute(LAST_LEASE.encode(), [sleeper.folder.name]).fetchall()
        _sleep_until(max(lease or datetime.now(UTC), datetime.now(UTC) + BEYOND))

    def _cut(self) -> None:
        self._link.cut()
        self._tell("times that all connections of the schedulers and the projector were cut")

    def _restart_postgres(self) -> None:
        self._postgres.restart()
        self._tell("fast restarts of Postgres")

    def _restart_postgres_immediately(self) -> None:
        self._postgres.restart_immediately()
        self._tell("immediate restarts of Postgres")

    def _tell(self, what: str) -> None:
        self.done[what] += 1


def _sleep_until(instant: datetime) -> None:
    """Only spreads what goes wrong over time: nothing depends on how long it really was."""
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))
