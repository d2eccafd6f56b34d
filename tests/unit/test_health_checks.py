"""What is healthy, and the sentence when it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
from msgspec.structs import replace

from infrastructure.health import DatabaseAway, Readiness
from interfaces.bootstrap.pages import HealthChecks

if TYPE_CHECKING:
    from interfaces.http.answers import HealthReport

WELL = Readiness(
    head=100,
    projected=100,
    furthest=100,
    oldest_unprojected_seconds=None,
    projector_beat_seconds=0.5,
    scheduler_beat_seconds=0.5,
    claiming=1,
    wrong_clock_seconds=None,
    parked=0,
    missing=[],
    fenced=False,
)


class Read:
    """A state of the service as a test wants it."""

    def __init__(self, found: Readiness | Exception) -> None:
        self._found = found

    async def read(self) -> Readiness:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def judged(found: Readiness | Exception) -> HealthReport:
    return asyncio.run(HealthChecks(Read(found)).report())


def test_all_is_well_when_all_beat_and_nothing_waits() -> None:
    report = judged(WELL)
    assert report.status == "healthy"
    assert {name: check.detail for name, check in report.checks.items()} == {
        "database": "The database answers.",
        "projectors": "The projector is 0 events behind.",
        "scheduler": "The last heartbeat was 0 s ago.",
    }


@pytest.mark.parametrize(
    ("behind", "parked", "detail"),
    [
        (1, 0, "The projector is 1 event behind."),
        (2, 0, "The projector is 2 events behind."),
        (0, 1, "The projector is 0 events behind; 1 event is parked: `chronoledger replay` tries it again."),
        (
            0,
            3,
            "The projector is 0 events behind; 3 events are parked: `chronoledger replay` tries them again.",
        ),
    ],
)
def test_numbers_and_their_nouns_agree(behind: int, parked: int, detail: str) -> None:
    projectors = judged(replace(WELL, projected=100 - behind, parked=parked)).checks["projectors"]
    assert (projectors.status, projectors.detail) == ("healthy", detail)


@pytest.mark.parametrize("beat_seconds", [0.5, None])
def test_a_checkpoint_beyond_the_log_asks_for_a_rebuild_whoever_runs(beat_seconds: float | None) -> None:
    lost = replace(WELL, head=90, projected=95, projector_beat_seconds=beat_seconds)
    report = judged(lost)
    assert report.status == "unhealthy"
    assert report.checks["projectors"].detail == (
        "The log ends at 90, before the checkpoint 100: was a backup restored? Run `chronoledger rebuild`."
    )


def test_a_projector_that_is_late_too_long_is_unhealthy() -> None:
    projectors = judged(replace(WELL, projected=99, oldest_unprojected_seconds=11)).checks["projectors"]
    assert (projectors.status, projectors.detail) == (
        "unhealthy",
        "The projector is 1 event behind for 11 s; read its log.",
    )


def test_a_scheduler_that_fell_silent_is_unhealthy() -> None:
    scheduler = judged(replace(WELL, scheduler_beat_seconds=11)).checks["scheduler"]
    assert scheduler.status == "unhealthy"
    assert "the last heartbeat was 11 s ago" in scheduler.detail


def test_where_no_scheduler_may_begin_none_is_asked_for() -> None:
    scheduler = judged(replace(WELL, scheduler_beat_seconds=None, fenced=True)).checks["scheduler"]
    assert scheduler.status == "unhealthy"
    assert scheduler.detail.startswith("No scheduler begins on this database")
    assert "start `chronoledger scheduler`" not in scheduler.detail


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (DatabaseAway("nothing came within 3 seconds"), "does not answer: nothing came within 3 seconds"),
        (
            psycopg.errors.UndefinedTable('relation "x" does not exist\nLINE 1'),
            'cannot be used: relation "x"',
        ),
        (psycopg.errors.InsufficientPrivilege("permission denied"), "cannot be used: permission denied"),
    ],
)
def test_a_database_that_is_away_is_told_from_one_that_refuses(error: Exception, detail: str) -> None:
    report = judged(error)
    assert (report.status, list(report.checks)) == ("unhealthy", ["database"])
    assert report.checks["database"].detail.startswith(f"The database {detail}")
