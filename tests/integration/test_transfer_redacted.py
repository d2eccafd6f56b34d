"""Exports that redactions overtake: an archive holds nothing that is erased by then, or tells of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from application.ports import NewFact
from domain.facts import EventsRedacted, Rewritten
from domain.identity import redaction_stream
from infrastructure.transfer import export as reading
from infrastructure.transfer.errors import RedactedMeanwhile
from infrastructure.transfer.export import export_events
from infrastructure.transfer.format import Selection
from tests.support.entries import NOON
from tests.support.projecting import connect
from tests.support.stored import append
from tests.support.transfers import Interrupted, Progress, events, fill

PREFIX = 333


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many."""
    monkeypatch.setattr(reading, "PART_EVENTS", 50)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "log.ndjson.zst"


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with some 700 events."""
    asyncio.run(fill(database))
    return database


def redact(dsn: str, position: int) -> None:
    """Record that an event was rewritten."""

    async def told() -> None:
        task = uuid4()
        fact = EventsRedacted(at=NOON, task_id=task, rewritten=(Rewritten(position, task, "00"),))
        async with await connect(dsn) as connection:
            await append(connection, [NewFact(redaction_stream(task), 1, fact)])

    asyncio.run(told())


def test_an_export_amid_which_its_events_are_redacted_ends_without_an_archive(
    log: str, archive: Path
) -> None:
    def amid(_stage: str, position: int, _until: int) -> None:
        if not position:
            redact(log, PREFIX)

    with pytest.raises(RedactedMeanwhile, match=r"log\.ndjson\.zst\.part .* remove it, and start again"):
        export_events(log, archive, Selection(), amid)
    assert not archive.exists()


def test_an_export_that_was_begun_before_a_redaction_is_not_gone_on_with(log: str, archive: Path) -> None:
    with pytest.raises(Interrupted):
        export_events(log, archive, Selection(), Progress("exported", 3))
    redact(log, PREFIX)
    told = Progress()
    with pytest.raises(RedactedMeanwhile):
        export_events(log, archive, Selection(), told)
    assert told.heard == []
    archive.with_name(f"{archive.name}.part").unlink()
    assert export_events(log, archive, Selection(), Progress()).last == events(log)[-1][4]


def test_what_is_redacted_behind_the_end_of_an_export_is_none_of_its_business(
    log: str, archive: Path
) -> None:
    def amid(_stage: str, position: int, _until: int) -> None:
        if not position:
            redact(log, PREFIX + 1)

    assert export_events(log, archive, Selection(last=PREFIX), amid).last == PREFIX
