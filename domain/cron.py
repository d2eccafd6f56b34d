"""Which cron expressions are accepted: five fields, and only what every cron reads the same way; or six.

The sixth field, which stands first, is the second: cron has none, but whoever has one reads it like this.
croniter reads the expressions. It also takes more than cron does (years, `H`, `15W`, backward ranges) and
reads `5-5` as every value: what it and Debian's cron would read differently is refused here.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from croniter import CroniterBadDateError, croniter
from msgspec import Struct

from domain.errors import shown

LONGEST_EXPRESSION = 255

YEARS_BETWEEN_MATCHES = 50
"""How far a next occurrence is looked for: 29 February on a given weekday can be 40 years away."""

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_LAYOUT = "5 fields, minute hour day-of-month month day-of-week, such as 30 9 * * 1-5, or 6, second first"
_VALUE = r"(?:[0-9]+|[A-Z]{3})"
_RANGE = rf"(?P<low>{_VALUE})-(?P<high>{_VALUE})"
_STEP = r"/[0-9]+"
_ANY_DATE = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall clock: every kind of date follows within 50 years
_EVERY = ["*", "*", "*", "*", "*"]


class BadCron(ValueError):
    """The expression is not accepted; `field` is the wrong field's name and `reason` says what to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class NeverFires(BadCron):
    """The expression is well formed, but no date matches it."""

    def __init__(self, expression: str) -> None:
        super().__init__(
            "day-of-month",
            f"{shown(expression)} never fires: no local time matches it within {YEARS_BETWEEN_MATCHES} years;"
            " change the day-of-month or the month.",
        )


class _Field(Struct, frozen=True, gc=False):
    """One column: `shape` is how a part of its list is written, croniter knows which values it may have."""

    position: int
    name: str
    lowest: int
    highest: int
    allowed: str
    shape: str

    def refusal(self, part: str, advice: str) -> BadCron:
        return BadCron(self.name, f"The {self.name} {shown(part)} is not accepted: {advice}.")

    def check(self, text: str) -> None:
        parts = text.split(",")
        for part in parts:
            self._check_part(part, alone=len(parts) == 1)
        if not self._accepted(text):
            raise self.refusal(text, "either every part has a #, or none")
        if "L" in parts and self._expanded(text) == ("*",):
            raise self.refusal(text, "it names every day; write *")

    def _check_part(self, part: str, *, alone: bool) -> None:
        self._check_step(part)
        shape = re.fullmatch(self.shape, part)
        if shape is None or not self._accepted(part):
            raise self.refusal(part, f"give {self.allowed}, a list (1,2), a range (1-5), * or */2")
        if part.startswith("*") and not alone and (part == "*" or self.name.startswith("day")):
            # In a list of days, croniter minds any *, cron only a leading one.
            raise self.refusal(part, f"in a list, write {self.lowest}-{self.highest}{part[1:]} instead")
        if shape["low"]:
            self._check_range(shape["low"], shape["high"])

    def _check_step(self, part: str) -> None:
        # Every cron reads */100 as the field's first value alone, which nobody means.
        step, most = part.partition("/")[2], self.highest - self.lowest + 1
        if step.isdecimal() and int(step) > most:
            raise self.refusal(
                part, f"the step is longer than the field; give at most /{most}, or the values"
            )

    def _check_range(self, low: str, high: str) -> None:
        first, last = self._number(low), self._number(high)
        if first == last:
            raise self.refusal(f"{low}-{high}", f"the range holds one value; write {low}")
        if first > last:
            tail = low if first >= self.highest else f"{low}-{self.highest}"
            head = high if last == self.lowest else f"{self.lowest}-{high}"
            raise self.refusal(f"{low}-{high}", f"the range runs backwards; write {tail},{head}")

    def _number(self, value: str) -> int:
        """Sunday as 7 stays 7, so that 5-7 runs forwards; croniter knows the names."""
        return int(value) if value.isdigit() else int(self._expanded(value)[0])

    def _accepted(self, text: str) -> bool:
        try:
            return bool(self._expanded(text))
        except ValueError:
            return False

    def _expanded(self, text: str) -> tuple[int | str, ...]:
        return _expanded(self.position, text)


@lru_cache(maxsize=4096)
def _expanded(position: int, text: str) -> tuple[int | str, ...]:
    """What croniter makes of the text in a field, all others being `*`. Raises `ValueError`.

    Expressions are many, but what they are made of is not.
    """
    fields = [*_EVERY[:position], text, *_EVERY[position + 1 :]]
    return (*croniter.expand(" ".join(fields))[0][position],)


_FIELDS = tuple(
    _Field(position, name, lowest, highest, allowed, rf"(?:\*|{_RANGE})(?:{_STEP})?|{special}")
    for position, (name, lowest, highest, allowed, special) in enumerate(
        (
            ("minute", 0, 59, "0-59", rf"{_VALUE}(?:{_STEP})?"),
            ("hour", 0, 23, "0-23", rf"{_VALUE}(?:{_STEP})?"),
            ("day-of-month", 1, 31, "1-31, L for the last day", rf"L|{_VALUE}(?:{_STEP})?"),
            ("month", 1, 12, "1-12 or JAN-DEC", rf"{_VALUE}(?:{_STEP})?"),
            # No start with a step: 5/2 is Friday to croniter, Friday and Sunday to others.
            ("day-of-week", 0, 6, "0-7 or SUN-SAT, 1#2 for the second Monday", rf"{_VALUE}(?:#[1-5])?"),
            ("second", 0, 59, "0-59", rf"{_VALUE}(?:{_STEP})?"),
        )
    )
)


def fields_of(expression: str) -> list[str]:
    """The fields in upper case, an alias spelled out; the second, if there is one, comes last."""
    fields = ALIASES.get(expression.strip().lower(), expression).upper().split()
    return [*fields[1:], fields[0]] if len(fields) == len(_FIELDS) else fields


@lru_cache(maxsize=1024)
def check_cron(expression: str) -> None:
    """Accept what fires at least once in 50 years, everywhere in the same way; raise `BadCron` otherwise.

    Five fields separated by blanks, or six with the second first, or an alias; numbers, names, lists,
    ranges and steps, `L` for the last day of the month, and `1#2` for the second Monday when the
    day-of-month is `*`.
    """
    _check_writing(expression)
    fields = fields_of(expression)
    if len(fields) not in {len(_EVERY), len(_FIELDS)}:
        hint = "; years are not supported" if len(fields) > len(_FIELDS) else ""
        raise BadCron("expression", f"{shown(expression)} has {len(fields)} fields; give {_LAYOUT}{hint}.")
    for field, text in zip(_FIELDS, fields, strict=False):
        field.check(text)
    if "#" in fields[4] and fields[2] != "*":
        raise _FIELDS[4].refusal(fields[4], f"# needs * as the day-of-month, not {fields[2]}")
    if fields[2:5] == _EVERY[2:]:
        return  # every day has every time that a field may hold
    try:
        parse(expression).get_next(start_time=_ANY_DATE)
    except CroniterBadDateError:
        raise NeverFires(expression) from None


def _check_writing(expression: str) -> None:
    if len(expression) > LONGEST_EXPRESSION:
        raise BadCron(
            "expression",
            f"The cron expression has {len(expression)} characters; give at most {LONGEST_EXPRESSION}.",
        )
    if not expression.strip(" \t"):
        raise BadCron("expression", f"The cron expression is empty; give {_LAYOUT}.")
    if strange := re.search(r"[^\t\x20-\x7e]", expression):
        raise BadCron(
            "expression", f"{shown(expression)} contains the character {shown(strange[0])}; give {_LAYOUT}."
        )
    if expression.strip().startswith("@") and expression.strip().lower() not in ALIASES:
        raise BadCron(
            "expression", f"{shown(expression)} is unknown; give {_LAYOUT}, or {', '.join(ALIASES)}."
        )


def parse(expression: str) -> croniter[datetime]:
    """An accepted expression, ready to find matches on a wall clock.

    Worth keeping: parsing takes three times as long as finding the next match (about 60 and 20 microseconds).
    """
    return croniter(
        " ".join(fields_of(expression)),
        _ANY_DATE,
        ret_type=datetime,
        max_years_between_matches=YEARS_BETWEEN_MATCHES,
        # Debian's rule: when either day field starts with *, both must match; otherwise either may.
        implement_cron_bug=True,
    )
