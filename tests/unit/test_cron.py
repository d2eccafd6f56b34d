"""Which cron expressions are accepted, and what is said about those that are not."""

import re
from datetime import UTC, datetime

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from domain.cron import ALIASES, BadCron, NeverFires, check_cron, fields_of, parse
from tests.unit.test_schedule_properties import PATIENT

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "0 9 * * *",
        "*/15 * * * *",
        "*/15,7 0-23/2 1,15 * *",
        "0 18 * * 1-5",
        "0 18 * * mon-fri",
        "0 0 1 JAN,Jul *",
        "0 0 * * 0",
        "0 0 * * 7",
        "0 0 * * 5-7",
        "0 0 L * *",
        "0 0 15,l * *",
        "0 0 * * 1#2,5#2",
        "05 00 01 01 *",
        "5/20 * * * *",
        "*/60 */24 */31 */12 */7",
        "  0\t9  *   * * ",
        "0 0 29 2 *",
        "0 0 29 2 */7",
        "0 30 9 * * 1-5",
        "*/10 * * * * *",
        "5,15-20,30/10 0 0 L * *",
        *ALIASES,
        "@Daily",
    ],
)
def test_five_fields_six_fields_or_an_alias_are_accepted(expression: str) -> None:
    check_cron(expression)


REFUSALS = {
    "": ("expression", "The cron expression is empty; give 5 fields"),
    " \t ": ("expression", "The cron expression is empty; give 5 fields"),
    "* * * *": ("expression", '"* * * *" has 4 fields; give 5 fields'),
    "0 0 9 * * * 2030": ("expression", "years are not supported"),
    "60 * * * * *": ("second", 'The second "60" is not accepted: give 0-59'),
    "H * * * * *": ("second", 'The second "H"'),
    "50-10 * * * * *": ("second", "the range runs backwards; write 50-59,0-10"),
    "1,* * * * * *": ("second", "in a list, write 0-59 instead"),
    "*/10 61 * * * *": ("minute", 'The minute "61"'),
    "* " * 130: ("expression", "The cron expression has 260 characters; give at most 255"),
    "0 9 * * *\n": ("expression", r'contains the character "\n"'),
    "0 9\x00 * * *": ("expression", r'contains the character "\x00"'),
    "0 9 * * १": ("expression", 'contains the character "१"'),
    "@reboot": ("expression", '"@reboot" is unknown; give 5 fields'),
    "@every 5m": ("expression", "@hourly, @daily"),
    "60 * * * *": ("minute", 'The minute "60" is not accepted: give 0-59'),
    "5,61 * * * *": ("minute", 'The minute "61"'),
    "-1 * * * *": ("minute", 'The minute "-1"'),
    "1.5 * * * *": ("minute", 'The minute "1.5"'),
    "*/0 * * * *": ("minute", 'The minute "*/0"'),
    "*/61 * * * *": ("minute", 'The minute "*/61" is not accepted: the step is longer than the field; give'),
    "*/100 * * * *": ("minute", "give at most /60, or the values"),
    "0-30,5/99999 * * * *": ("minute", 'The minute "5/99999"'),
    "0 */25 * * *": ("hour", "give at most /24"),
    "0 0 1-9/32 * *": ("day-of-month", "give at most /31"),
    "0 0 1 */13 *": ("month", "give at most /12"),
    "0 0 * * 1-5/8": ("day-of-week", "give at most /7"),
    "*/x * * * *": ("minute", 'The minute "*/X"'),
    "1,,2 * * * *": ("minute", 'The minute ""'),
    "H * * * *": ("minute", 'The minute "H"'),
    "R * * * *": ("minute", 'The minute "R"'),
    "H(0-29)/10 * * * *": ("minute", 'The minute "H(0-29)/10"'),
    "MON * * * *": ("minute", 'The minute "MON"'),
    "* 24 * * *": ("hour", 'The hour "24" is not accepted: give 0-23'),
    "* 22-6 * * *": ("hour", "the range runs backwards; write 22-23,0-6"),
    "* 5-5 * * *": ("hour", "the range holds one value; write 5"),
    "* 5-5/2 * * *": ("hour", "the range holds one value; write 5"),
    "* 1,* * * *": ("hour", "in a list, write 0-23 instead"),
    "* * 0 * *": ("day-of-month", 'The day-of-month "0" is not accepted: give 1-31'),
    "* * 32 * *": ("day-of-month", 'The day-of-month "32"'),
    "* * ? * *": ("day-of-month", 'The day-of-month "?"'),
    "* * 15W * *": ("day-of-month", 'The day-of-month "15W"'),
    "* * L-3 * *": ("day-of-month", 'The day-of-month "L-3"'),
    "* * 1,*/2 * *": ("day-of-month", "in a list, write 1-31/2 instead"),
    "* * 1-29,31,L * *": ("day-of-month", "it names every day; write *"),
    "* * * 13 *": ("month", 'The month "13" is not accepted: give 1-12 or JAN-DEC'),
    "* * * 0 *": ("month", 'The month "0"'),
    "* * * JANUARY *": ("month", 'The month "JANUARY"'),
    "* * * NOV-FEB *": ("month", "the range runs backwards; write NOV-12,1-FEB"),
    "* * * * 8": ("day-of-week", 'The day-of-week "8" is not accepted: give 0-7 or SUN-SAT'),
    "* * * * JAN": ("day-of-week", 'The day-of-week "JAN"'),
    "* * * * SAT-SUN": ("day-of-week", "the range runs backwards; write SAT,SUN"),
    "* * * * 7-7": ("day-of-week", "the range holds one value; write 7"),
    "* * * * 5/2": ("day-of-week", 'The day-of-week "5/2"'),
    "* * * * L5": ("day-of-week", 'The day-of-week "L5"'),
    "* * * * 5L": ("day-of-week", 'The day-of-week "5L"'),
    "* * * * 1#6": ("day-of-week", 'The day-of-week "1#6"'),
    "* * * * 1#2,3": ("day-of-week", "either every part has a #, or none"),
    "* * 13 * 5#2": ("day-of-week", "# needs * as the day-of-month, not 13"),
}


@pytest.mark.parametrize(("expression", "field", "said"), [(e, *why) for e, why in REFUSALS.items()])
def test_a_refusal_names_the_field_the_wrong_part_and_what_is_allowed(
    expression: str, field: str, said: str
) -> None:
    with pytest.raises(BadCron) as refusal:
        check_cron(expression)
    assert refusal.value.field == field
    assert said in refusal.value.reason
    assert str(refusal.value) == refusal.value.reason


@pytest.mark.parametrize(
    "expression",
    [
        "0 23-0 * * *",
        "0 22-6 * * *",
        "0 4-4 * * *",
        "0 0 31-1 * *",
        "0 0 1,*/2 * *",
        "1,* 0 1 1 1",
        "0 0 1 DEC-JAN *",
        "0 0 * * FRI-MON",
        "0 0 * * SAT-SUN",
        "0 0 * * 7-2",
    ],
)
def test_what_is_advised_is_accepted(expression: str) -> None:
    with pytest.raises(BadCron) as refusal:
        check_cron(expression)
    [(wrong, advised)] = re.findall(r'"(.+)" is not accepted: .* write ([^ .]+)', refusal.value.reason)
    check_cron(expression.replace(wrong, advised))


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 FEB *", "0 0 31 4,6,9,11 */2", "* * 30-31 2 *"])
def test_a_date_that_never_comes_is_refused(expression: str) -> None:
    with pytest.raises(NeverFires, match="never fires"):
        check_cron(expression)


def test_a_day_that_never_comes_is_fine_beside_a_weekday_that_does() -> None:
    check_cron("0 0 31 2 1")


def test_an_alias_stands_for_its_fields() -> None:
    assert fields_of(" @Weekly ") == ["0", "0", "*", "*", "0"]


@given(st.text("0123456789*/-,#LWHR?JANMONSU ", max_size=24))
@PATIENT
def test_what_is_accepted_means_the_same_to_another_cron(expression: str) -> None:
    try:
        check_cron(expression)
    except BadCron:
        return
    ours = parse(expression).expanded
    theirs = CronSim(" ".join(fields_of(expression)), NOON)
    numbers = [theirs.minutes, theirs.hours, theirs.days, theirs.months, {day % 7 for day in days_of(theirs)}]
    every = [range(60), range(24), range(1, 32), range(1, 13), range(7)]
    for mine, other, full in zip(ours, numbers, every, strict=True):
        expected = set(full) if mine == ["*"] else {CronSim.LAST if value == "l" else value for value in mine}
        assert expected == other


def days_of(theirs: CronSim) -> set[int]:
    """Without the number in `1#2`, which the schedule's properties cover."""
    return {day[0] if isinstance(day, tuple) else day for day in theirs.weekdays}
