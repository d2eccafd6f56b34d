"""The nominal instants of a task in a window, each with its outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.explanation import wording
from application.explanation.explainer import Accounted, Occurrences
from domain.definition import Cron, Interval, OneOff
from domain.facts import TaskPaused
from domain.schedule import last_before, next_after
from tests.support.given import NOON, TASK, after, cancelled, created, updated
from tests.support.telling import Telling, claimed, run_of, skipped


@dataclass
class FixedLedger:
    """`Ledger` of the rows that a test puts here."""

    rows: list[Accounted] = field(default_factory=list)

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """See `Ledger`."""
        assert (namespace, task_id) == ("default", TASK)
        return [row for row in self.rows if start <= row.due_at < end]

    def add(self, due_at: datetime, status: str, reason: str | None = None) -> None:
        """One more occurrence is accounted for."""
        self.rows.append(Accounted(execution_id=run_of(due_at), due_at=due_at, status=status, reason=reason))


async def outcomes(
    world: Telling, ledger: FixedLedger, start: float, end: float, limit: int = 50
) -> list[tuple[datetime, str]]:
    found = await Occurrences(world.explainer, ledger, world.clock).window(
        "default", TASK, after(start), after(end), limit
    )
    return [(item.due_at, item.outcome) for item in found.items]


async def test_past_and_future_instants_have_their_outcomes() -> None:
    world, ledger = Telling(), FixedLedger()
    await world.happened(TASK, created())
    ledger.add(after(60), "succeeded")
    ledger.add(after(120), "skipped", "missed")
    await world.clock.reach(after(150))
    assert await outcomes(world, ledger, 0, 241) == [
        (after(60), "succeeded"),
        (after(120), "skipped"),
        (after(180), "expected"),
        (after(240), "expected"),
    ]


async def test_the_end_of_a_window_is_not_in_it_and_its_start_is() -> None:
    world = Telling()
    await world.happened(TASK, created())
    assert await outcomes(world, FixedLedger(), 60, 120) == [(after(60), "expected")]


async def test_what_the_ledger_does_not_know_yet_is_asked_of_the_log() -> None:
    world = Telling()
    await world.happened(TASK, created())
    await world.happened(run_of(after(60)), skipped(after(60), "missed", at=after(61)))
    await world.happened(run_of(after(180)), claimed(after(180)))
    await world.clock.reach(after(190))
    assert await outcomes(world, FixedLedger(), 0, 200) == [
        (after(60), "skipped"),
        (after(120), "unaccounted"),
        (after(180), "running"),
    ]


async def test_what_was_left_by_a_cancel_or_falls_into_a_pause_is_told() -> None:
    world = Telling()
    await world.happened(TASK, created(), TaskPaused(at=after(90)))
    await world.clock.reach(after(130))
    assert await outcomes(world, FixedLedger(), 0, 200) == [
        (after(60), "overdue"),
        (after(120), "paused"),
        (after(180), "paused"),
    ]
    await world.happened(TASK, cancelled(after(130)))
    assert await outcomes(world, FixedLedger(), 0, 200) == [
        (after(60), "withdrawn"),
        (after(120), "withdrawn"),
    ]


async def test_instants_of_every_schedule_that_was_in_force_are_listed() -> None:
    world, ledger = Telling(), FixedLedger()
    change = updated(cron="*/2 * * * *", now=after(90), next_run_at=after(120))
    await world.happened(TASK, created(), change)
    ledger.add(after(60), "succeeded")
    assert [due_at for due_at, _ in await outcomes(world, ledger, 0, 300)] == [
        after(60),
        after(120),
        after(240),
    ]


async def test_what_the_ledger_has_beside_the_schedule_is_listed_too() -> None:
    world, ledger = Telling(), FixedLedger()
    await world.happened(TASK, created())
    ledger.add(after(-3600), "succeeded")
    assert await outcomes(world, ledger, -7200, 61) == [(after(-3600), "succeeded"), (after(60), "expected")]


async def test_a_window_goes_on_where_a_page_ends() -> None:
    world, ledger = Telling(), FixedLedger()
    await world.happened(TASK, created())
    ledger.add(after(30), "succeeded")
    service = Occurrences(world.explainer, ledger, world.clock)
    seen: list[datetime] = []
    start: datetime | None = NOON
    while start is not None:
        page = await service.window("default", TASK, start, after(300), 2)
        assert len(page.items) <= 2
        seen += [item.due_at for item in page.items]
        start = page.next_from
    assert seen == [after(30), after(60), after(120), after(180), after(240)]


async def test_what_max_runs_no_longer_allows_is_not_listed() -> None:
    world, ledger = Telling(), FixedLedger()
    plain = created()
    bounded = replace(plain.definition, trigger=Cron(cron="* * * * *", max_runs=1))
    await world.happened(TASK, replace(plain, definition=bounded))
    assert len(await outcomes(world, ledger, 0, 300)) == 4
    await world.happened(run_of(after(60)), replace(claimed(after(60)), next_run_at=None))
    await world.clock.reach(after(200))
    assert await outcomes(world, ledger, 0, 300) == [(after(60), "running")]


async def test_a_one_off_has_one() -> None:
    world = Telling()
    await world.happened(TASK, created(at=after(60)))
    assert await outcomes(world, FixedLedger(), -86_400, 86_400) == [(after(60), "expected")]


@pytest.mark.parametrize(
    "trigger",
    [
        Cron(cron="* * * * *"),
        Cron(cron="30 2 * * *", timezone="Europe/Berlin"),
        Cron(cron="0 0 29 2 *"),
        Interval(every_seconds=7, anchor=NOON),
    ],
)
def test_the_last_one_before_an_instant_is_the_one_before_the_next(trigger: Cron | Interval) -> None:
    since = NOON - timedelta(days=12 * 366)
    for days in (0.0, 0.3, 45.26, 270.9):
        instant = NOON + timedelta(days=days)
        last = last_before(trigger, instant, since)
        assert last is not None
        assert last < instant
        following = next_after(trigger, last)
        assert following is not None
        assert following >= instant


def test_nothing_comes_before_the_first() -> None:
    assert last_before(Cron(cron="* * * * *"), after(60), after(1)) is None
    assert last_before(OneOff(datetime=NOON), after(60), after(1)) is None


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(microseconds=1_999), "1 ms"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=3.25), "3.2 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=2, minutes=5, seconds=7), "2 h 5 min"),
        (timedelta(days=3, seconds=4), "3 d"),
    ],
)
def test_spans_are_told_by_their_two_largest_units(length: timedelta, said: str) -> None:
    assert wording.span(length) == said


def test_schedules_are_told_by_their_members() -> None:
    assert wording.schedule(OneOff(datetime=NOON)) == "one-off: datetime 2030-01-01T12:00:00Z, timezone UTC"
    assert wording.schedule(Cron(cron="* * * * *", max_runs=3)) == "cron * * * * *, timezone UTC, max_runs 3"
