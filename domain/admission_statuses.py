"""Which lists of statuses are admitted, and how they are stored: as "503" or "5xx", each once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from domain.admission_fields import wrong
from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.errors import FieldError

MOST_STATUSES = 50

_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")


def status_errors(names: tuple[str, ...], given: Sequence[str]) -> Iterator[FieldError]:
    """What is wrong with a list of statuses, one error an entry."""
    if len(given) > MOST_STATUSES:
        detail = f"There are {len(given)} statuses; give at most {MOST_STATUSES}, or classes such as 5xx."
        yield wrong(*names, detail=detail)
        return
    for place, entry in enumerate(given):
        if not _STATUS.fullmatch(entry.lower()):
            detail = f"{shown(entry)} is not a status; give 100 to 599, or a class such as 5xx."
            yield wrong(*names, str(place), detail=detail)


def normal_statuses(given: Sequence[str]) -> tuple[str, ...]:
    """An admissible list as it is stored: classes in lower case, each entry once, in the order given."""
    return tuple(dict.fromkeys(map(str.lower, given)))


def covers(wide: str, narrow: str) -> bool:
    """Whether every status of the second entry is one of the first."""
    return wide == narrow or (wide.endswith("xx") and narrow.startswith(wide[0]))


def covering(entries: Sequence[str], narrow: str) -> str | None:
    """The first entry that covers another one."""
    return next((wide for wide in entries if covers(wide, narrow)), None)
