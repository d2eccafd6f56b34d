"""Judging the vital signs: what is healthy, and the sentence that tells where to look when it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from infrastructure.event_store.outage import first_line
from infrastructure.vitals import DatabaseAway
from interfaces.http.health import HealthCheck, HealthReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infrastructure.vitals import VitalSigns

# Beats come every second, projections every few milliseconds: ten seconds are no hiccup.
MAX_BEAT_SECONDS = 10.0
MAX_LAG_SECONDS = 10.0

type Part = Literal["projectors", "scheduler"]
ALL_PARTS: tuple[Part, ...] = ("projectors", "scheduler")


class Source(Protocol):
    """Where the vital signs come from."""

    async def read(self) -> VitalSigns:
        """See `infrastructure.vitals.Vitals`."""
        ...


class HealthChecks:
    """`interfaces.http.dependencies.Health` over the vital signs."""

    def __init__(self, source: Source, parts: Sequence[Part] = ALL_PARTS) -> None:
        """`parts` are judged besides the database."""
        self._source = source
        self._parts = parts

    async def report(self) -> HealthReport:
        """What works and what does not; never raises."""
        try:
            signs = await self._source.read()
        except DatabaseAway as error:
            return HealthReport.of_checks({"database": _bad(f"The database does not answer: {error}")})
        except Exception as error:
            return HealthReport.of_checks(
                {"database": _bad(f"The database cannot be used: {first_line(error)}")}
            )
        checks = {"database": _good("The database answers.")}
        judges = {"projectors": _projectors, "scheduler": _scheduler}
        return HealthReport.of_checks(checks | {part: judges[part](signs) for part in self._parts})


def _projectors(signs: VitalSigns) -> HealthCheck:
    lag = f"{_count(max(0, signs.head - signs.projected), 'event')} behind"
    if signs.head < signs.furthest:
        return _bad(
            f"The log ends at {signs.head}, before the checkpoint {signs.furthest}: was a backup restored? "
            "Run `chronoledger rebuild`."
        )
    if not _beats(signs.projector_beat_seconds):
        return _bad(f"No projector is running ({lag}); start `chronoledger projector` and read its log.")
    if signs.missing:
        return _bad(
            f"Tables or views are missing ({', '.join(signs.missing)}): the projector makes them when it "
            "starts, `chronoledger rebuild` when they were dropped."
        )
    if (signs.oldest_unprojected_seconds or 0) > MAX_LAG_SECONDS:
        return _bad(f"The projector is {lag} for {signs.oldest_unprojected_seconds:.0f} s; read its log.")
    return _good(f"The projector is {lag}{_parked(signs.parked)}.")


def _parked(events: int) -> str:
    match events:
        case 0:
            return ""
        case 1:
            return "; 1 event is parked: `chronoledger replay` tries it again"
        case _:
            return f"; {events} events are parked: `chronoledger replay` tries them again"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _scheduler(signs: VitalSigns) -> HealthCheck:
    beat = signs.scheduler_beat_seconds
    if not _beats(beat) and signs.stands_still:
        return _bad(
            "No scheduler begins on this database: it holds an earlier moment, or a copy or a part of a log. "
            "To look at it none is needed; `chronoledger replay --release` on it lets them begin, or says "
            "what is to end first."
        )
    if not _beats(beat):
        seen = "none was ever seen" if beat is None else f"the last heartbeat was {beat:.0f} s ago"
        return _bad(f"No scheduler is running ({seen}); start `chronoledger scheduler` and read its log.")
    if signs.wrong_clock_seconds is None:
        return _good(f"The last heartbeat was {beat:.0f} s ago.")
    clock = _wrong_clock(signs.wrong_clock_seconds)
    if signs.claiming == 0:
        return _bad(f"Nothing is called: {clock}.")
    return _good(f"The last heartbeat was {beat:.0f} s ago; {clock}: `GET /api/v1/nodes` shows which.")


def _wrong_clock(seconds: float) -> str:
    where = "ahead of" if seconds > 0 else "behind"
    off = f"{abs(seconds):.1f} s {where} the database's"
    return f"a scheduler's clock is {off}, so it claims nothing; look after NTP"


def _beats(seconds: float | None) -> bool:
    return seconds is not None and seconds <= MAX_BEAT_SECONDS


def _good(detail: str) -> HealthCheck:
    return HealthCheck(status="healthy", detail=detail)


def _bad(detail: str) -> HealthCheck:
    return HealthCheck(status="unhealthy", detail=detail)
