"""Five years of 200 random expressions in 12 zones, held against cronsim.

`make test` takes a sample, around the changes of clocks; CHRONOLEDGER_ORACLE=full takes all of it, and every
day of whatever fires at most once an hour. Where the two differ, one who watches the clock (the rule of ADR
4, word by word) must side with us: ADR 4 names the reasons.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from random import Random
from zoneinfo import ZoneInfo

import pytest

from domain.definition import Cron
from domain.schedule import occurrences_between
from domain.timezones import offset_at, steady_until
from tests.unit.test_schedule_properties import accepted, by_rhythm, cronsim, watch

FULL = os.environ.get("CHRONOLEDGER_ORACLE") == "full"
EXPRESSIONS = 200
SAMPLE = 6  # expressions a zone
START, UNTIL = datetime(2024, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
AROUND = timedelta(hours=36)
HOUR = timedelta(hours=1)

# Cuba, Chile, Gaza and Paraguay skip midnight, Lord Howe half an hour; Troll moves by two hours.
ZONES = (
    *("Europe/Berlin", "America/New_York", "Europe/Dublin", "Africa/Casablanca", "Australia/Lord_Howe"),
    *("America/Havana", "America/Santiago", "Asia/Gaza", "Pacific/Chatham", "Antarctica/Troll"),
    *("America/Asuncion", "Asia/Kathmandu"),
)

# Where 03:45 becomes 02:45, cronsim looks for an hour of 3 for ever: rhythms are left to the one who watches.
NEVER_RETURNS = "Pacific/Chatham"

type Span = tuple[datetime, datetime]


def random_field(chance: Random, low: int, high: int) -> str:
    first, last = sorted(chance.sample(range(low, high + 1), 2))
    step = chance.randint(2, max(2, (high - low) // 2))
    shapes = ("*", f"*/{step}", f"{first}", f"{first},{last}", f"{first}-{last}", f"{first}-{last}/{step}")
    return chance.choice(shapes)


def random_expression(chance: Random) -> str:
    minute, hour = random_field(chance, 0, 59), random_field(chance, 0, 23)
    if chance.random() < 0.5:  # the hours in which clocks are moved
        hour = chance.choice(("0", "1", "2", "3", "0-3", "1,2", "*/2", "2-4/2", "23"))
    date = chance.choice(
        ("* * *", "* * *", "* * 0", "* * SAT,SUN", "L * *", "1-7 * 0", "*/2 * *", "* 3,4,9-11 *")
    )
    return f"{minute} {hour} {date}"


def random_expressions() -> list[str]:
    chance = Random(20260329)
    found: dict[str, None] = {}
    while len(found) < EXPRESSIONS:
        expression = random_expression(chance)
        if accepted(expression):
            found[expression] = None
    return list(found)


def changes(zone: ZoneInfo) -> Iterator[datetime]:
    """Every change of the zone's offset in the five years."""
    instant = START
    while (instant := steady_until(instant, zone)) < UNTIL:
        if offset_at(instant, zone) != offset_at(instant - timedelta(seconds=1), zone):
            yield instant


def spans(expression: str, zone: str) -> Iterator[Span]:
    """What is compared: all five years of what is rare, else the days around the changes of clocks."""
    minute, hour, *_ = expression.split()
    each_day = Cron(cron=f"{minute} {hour} * * *")
    daily = sum(1 for _ in occurrences_between(each_day, START, START + timedelta(days=1)))
    if FULL and daily <= 24 and zone != NEVER_RETURNS:
        yield START, UNTIL
        return
    for change in changes(ZoneInfo(zone)):
        yield change - AROUND, change + AROUND
    yield START, START + timedelta(days=3)


def disputed(expression: str, zone: str, span: Span) -> set[datetime]:
    """The instants at which only one of the two fires."""
    after, until = span
    ours = occurrences_between(Cron(cron=expression, timezone=zone), after, until)
    if zone == NEVER_RETURNS and by_rhythm(expression):
        theirs = watch(expression, ZoneInfo(zone), after, until)
    else:
        theirs = takewhile(lambda instant: instant <= until, cronsim(expression, zone, after))
    return set(ours) ^ set(theirs)


def ours_is_right(expression: str, zone: str, instant: datetime) -> bool:
    """Whether one who watches the clock for an hour around the instant sees what we say."""
    after, until = instant - HOUR, instant + HOUR
    found = occurrences_between(Cron(cron=expression, timezone=zone), after, until)
    return list(found) == list(watch(expression, ZoneInfo(zone), after, until))


@pytest.mark.timeout(7200 if FULL else 600)
@pytest.mark.parametrize("zone", ZONES)
def test_a_schedule_agrees_with_cronsim_for_five_years(zone: str) -> None:
    expressions = random_expressions()
    moved = list(changes(ZoneInfo(zone)))
    place = ZONES.index(zone)
    for expression in expressions if FULL else expressions[place * SAMPLE : (place + 1) * SAMPLE]:
        for span in spans(expression, zone):
            for instant in disputed(expression, zone, span):
                where = f"{expression} in {zone} at {instant.isoformat()}"
                assert by_rhythm(expression), f"fixed times differ: {where}"
                assert any(abs(instant - change) < AROUND for change in moved), f"without a change: {where}"
                assert ours_is_right(expression, zone, instant), f"cronsim is right: {where}"
