"""Every `EventLog` there is, for the contract suites."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

import psycopg

from application.ports import EventLog, Follower
from infrastructure.event_store.follower import PostgresFollower
from tests.support.log import MemoryLog


class Subject(Protocol):
    """One implementation, and a way past its rules: `plant` stores bytes that no release of ours wrote."""

    log: EventLog
    follower: Follower

    async def plant(self, stream: UUID, version: int, topic: str, state: bytes) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.memory = MemoryLog()
        self.log: EventLog = self.memory
        self.follower: Follower = self.memory

    async def plant(self, stream: UUID, version: int, topic: str, state: bytes) -> None:
        self.memory.plant(stream, version, topic, state)


class InPostgres:
    def __init__(self, dsn: str, log: EventLog) -> None:
        self._dsn = dsn
        self.log = log
        self.follower: Follower = PostgresFollower(dsn)

    async def plant(self, stream: UUID, version: int, topic: str, state: bytes) -> None:
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            await connection.execute(
                "INSERT INTO events (originator_id, originator_version, topic, state)"
                " VALUES (%s, %s, %s, %s)",
                (stream, version, topic, state),
            )
