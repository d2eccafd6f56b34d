"""What holds for every schedule, zone and instant.

Two judges that share no code with ours: someone who watches the zone's clock minute by minute (the rule of
ADR 4, word by word), and cronsim, which follows Debian's cron. Both read expressions with cronsim's parser.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from domain.cron import BadCron, check_cron
from domain.definition import Cron
from domain.schedule import next_after, occurrences_between
from domain.timezones import steady_until

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
local = datetime.fromisoformat

# Other work on the machine must not fail a test.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SIMPLE_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Antarctica/Troll", "Europe/Dublin"]
# Where midnight may not exist, a whole day was left out, or clocks move by half an hour or at a quarter to.
ODD_ZONES = [
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/Havana",
    "America/Santiago",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Pacific/Chatham",
]
ZONES = st.sampled_from(SIMPLE_ZONES + ODD_ZONES)


def spans(low: int, high: int) -> st.SearchStrategy[str]:
    bounds = st.lists(st.integers(low, high), min_size=2, max_size=2, unique=True).map(sorted)
    return bounds.map(lambda pair: f"{pair[0]}-{pair[1]}")


def fields(low: int, high: int, *, start_with_step: bool = True) -> st.SearchStrategy[str]:
    values = st.integers(low, high).map(str)
    steps = st.integers(1, high).map("/{}".format)
    stepped = st.one_of(st.just("*"), spans(low, high), *[values] * start_with_step)
    parts = values | spans(low, high) | st.tuples(stepped, steps).map("".join)
    return st.just("*") | st.lists(parts, min_size=1, max_size=3).map(",".join)


MONTH_FIELDS = fields(1, 12) | st.sampled_from(["JAN", "OCT-DEC", "FEB,AUG"])
DAY_FIELDS = fields(1, 31) | st.sampled_from(["L", "15,L"])
WEEKDAY_FIELDS = fields(0, 7, start_with_step=False) | st.sampled_from(
    ["SUN", "SAT,SUN", "MON-FRI", "5#2", "SUN#5"]
)


def accepted(expression: str) -> bool:
    try:
        check_cron(expression)
    except BadCron:  # a date that never comes, or 1#2 beside a day-of-month
        return False
    return True


# Every day, or most days: something must happen within the days that are watched.
DAILY = st.tuples(
    fields(0, 59), fields(0, 23), st.sampled_from(["* * *", "* * 0", "*/2 * *", "L,1-30/3 * 6,7"])
)
RARE = st.tuples(fields(0, 59), fields(0, 23), DAY_FIELDS, MONTH_FIELDS, WEEKDAY_FIELDS)
EXPRESSIONS = (DAILY | RARE).map(" ".join).filter(accepted)

# cronsim looks minute by minute, and every offset since Monrovia's of 1972 is a whole number of minutes.
ANYTIME = st.datetimes(local("1973-01-01"), local("2099-01-01"), timezones=st.just(UTC))


@st.composite
def zones_and_instants(draw: st.DrawFn) -> tuple[str, datetime]:
    """Half of the instants lie within two days of a change of the zone's offset, if it has one that year."""
    zone, instant = draw(ZONES), draw(ANYTIME)
    if draw(st.booleans()):
        instant = steady_until(instant, ZoneInfo(zone)) + draw(st.timedeltas(-2 * DAY, 2 * DAY))
    return zone, instant


def shows_match(sim: CronSim, local: datetime) -> bool:
    """Whether a clock that shows this time shows a match."""
    return (
        local.minute in sim.minutes
        and local.hour in sim.hours
        and local.month in sim.months
        and sim.match_day(local.date())
    )


def watch(expression: str, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """Look at the clock every minute, from two days before, to know which times it has already shown."""
    sim, rhythm = CronSim(expression, after), by_rhythm(expression)
    instant = (after - 2 * DAY).replace(second=0, microsecond=0)
    latest = instant.astimezone(zone).replace(tzinfo=None)
    while (instant := instant + MINUTE) <= until:
        shown = instant.astimezone(zone).replace(tzinfo=None)
        # Fixed times: all the times that the clock has now passed for the first time, shown or left out.
        passed = int((shown - latest) / MINUTE)
        times = [shown] if rhythm else [shown - MINUTE * back for back in range(passed)]
        latest = max(latest, shown)
        if instant > after and any(shows_match(sim, time) for time in times):
            yield instant


@given(EXPRESSIONS, zones_and_instants())
@settings(PATIENT, max_examples=120)
def test_a_schedule_fires_when_one_who_watches_the_clock_says_so(
    expression: str, place: tuple[str, datetime]
) -> None:
    zone, after = place
    until = after + 2 * DAY
    found = occurrences_between(Cron(cron=expression, timezone=zone), after, until)
    assert list(found) == list(watch(expression, ZoneInfo(zone), after, until))


def by_rhythm(expression: str) -> bool:
    return any(field.startswith("*") for field in expression.split()[:2])


def cronsim(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """cronsim's answers, less those that it repeats or that are past.

    It fires once for each time that a gap leaves out, all at the same instant, and forgets which pass of a
    repeated hour it starts in.
    """
    latest = after
    for local in CronSim(expression, after.astimezone(ZoneInfo(zone))):
        if (instant := local.astimezone(UTC)) > latest:
            yield instant
            latest = instant


@given(EXPRESSIONS, zones_and_instants())
@settings(PATIENT, max_examples=120)
def test_a_schedule_agrees_with_cronsim(expression: str, place: tuple[str, datetime]) -> None:
    zone, after = place
    # For rhythms, cronsim starts a day at its midnight and walks by whole hours: it goes astray in the odd
    # zones, unlike the one who watches. For fixed times it has neither trouble.
    assume(zone in SIMPLE_ZONES or not by_rhythm(expression))
    until = after + 400 * DAY
    theirs = takewhile(lambda instant: instant <= until, cronsim(expression, zone, after))
    ours = occurrences_between(Cron(cron=expression, timezone=zone), after, until)
    assert list(islice(ours, 50)) == list(islice(theirs, 50))


@given(EXPRESSIONS, zones_and_instants())
@PATIENT
def test_occurrences_follow_one_another_on_whole_minutes(
    expression: str, place: tuple[str, datetime]
) -> None:
    zone, after = place
    trigger = Cron(cron=expression, timezone=zone)
    found = list(islice(occurrences_between(trigger, after, after + 400 * DAY), 30))
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    assert all(instant.tzinfo is UTC and instant.second == instant.microsecond == 0 for instant in found)


@given(EXPRESSIONS, zones_and_instants())
@PATIENT
def test_occurrences_are_what_asking_for_the_next_one_again_and_again_gives(
    expression: str, place: tuple[str, datetime]
) -> None:
    zone, after = place
    trigger = Cron(cron=expression, timezone=zone)
    asked: list[datetime] = []
    instant = next_after(trigger, after)
    while instant is not None and len(asked) < 20:
        asked.append(instant)
        instant = next_after(trigger, instant)
    assume(asked)
    assert list(occurrences_between(trigger, after, asked[-1])) == asked


@given(EXPRESSIONS, zones_and_instants(), st.timedeltas(timedelta(), DAY))
@PATIENT
def test_nothing_lies_between_an_instant_and_the_next_occurrence(
    expression: str, place: tuple[str, datetime], earlier: timedelta
) -> None:
    zone, after = place
    trigger = Cron(cron=expression, timezone=zone)
    first = next_after(trigger, after - earlier)
    assert first == next_after(trigger, after) or (first is not None and first <= after)


@given(st.datetimes(), ZONES, st.sampled_from(["* * * * *", "30 2 * * *", "0 0 29 2 *"]))
@PATIENT
def test_the_ends_of_the_calendar_end_the_schedule(instant: datetime, zone: str, expression: str) -> None:
    found = next_after(Cron(cron=expression, timezone=zone), instant.replace(tzinfo=UTC))
    assert found is None or found > instant.replace(tzinfo=UTC)
    assert found is not None or not 2 < instant.year < 9990
