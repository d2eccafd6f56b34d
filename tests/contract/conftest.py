"""The implementations that the contract suites of the log run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from application.ports import EventLog
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.postgres import pool
from tests.support.event_logs import InMemory, InPostgres, Subject


@pytest.fixture(params=["memory", "postgres"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "memory":
        yield InMemory()
        return
    dsn: str = request.getfixturevalue("database")
    async with pool(dsn, 4) as connections, Appender(dsn) as appender:
        yield InPostgres(dsn, PostgresEventLog(connections, appender))


@pytest.fixture
def log(subject: Subject) -> EventLog:
    return subject.log
