"""The append-only log in Postgres: how facts are stored, appended, read and followed."""

from infrastructure.event_store.appender import Appender
from infrastructure.event_store.follower import PostgresFollower
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.mapper import FactMapper, StoredFact
from infrastructure.event_store.own import OwnEvents
from infrastructure.event_store.reader import PostgresEventReader
from infrastructure.event_store.redactor import PostgresRedactor

__all__ = [
    "Appender",
    "FactMapper",
    "OwnEvents",
    "PostgresEventLog",
    "PostgresEventReader",
    "PostgresFollower",
    "PostgresRedactor",
    "StoredFact",
]
