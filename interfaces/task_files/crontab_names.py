"""Names of the tasks of a crontab: what its lines' URLs say, and where a task has one already, that one."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from domain.definition import Cron

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from domain.definition import Definition

_LONGEST_NAME = 240
_HASH_DIGITS = 6
_TOLD_APART = re.compile(r" \([0-9a-f]{6}(, \d+)?\)$")


class Names(NamedTuple):
    """One for each line, and those of tasks that stand for none of the lines though their names say so."""

    chosen: list[str]
    left: list[str]


class _Line:
    """A line by its call and schedule."""

    def __init__(self, entry: dict[str, Any], timezone: str) -> None:
        action, trigger = entry["action"], entry["trigger"]
        self.plain = _plain(action["url"])
        self.call = _digest(action)
        self.schedule = (trigger["cron"], trigger.get("timezone", timezone))
        self._exact = _digest(action, trigger)

    def names(self) -> Iterator[str]:
        """What it can be called, the shortest first: the very same lines are numbered."""
        yield self.plain
        yield f"{self.plain} ({self.call[:_HASH_DIGITS]})"
        yield f"{self.plain} ({self._exact[:_HASH_DIGITS]})"
        yield from (f"{self.plain} ({self._exact[:_HASH_DIGITS]}, {number})" for number in count(2))


class _Known(NamedTuple):
    """A task that stands for a line, it seems."""

    name: str
    call: str
    schedule: tuple[str, str]


def names_of(entries: Iterable[dict[str, Any]], timezone: str, standing: Iterable[Definition]) -> Names:
    """The names of lines, beside the tasks that stand; lines without a zone are in `timezone`.

    A line whose call one of these tasks makes keeps the name of that one, first of all at the same schedule.
    Each of the others is called by its URL, without what may be secret; where several would be the same, all
    of them with a hash of their call, and of their schedule where calls are the same, so none depends on the
    order of lines.
    """
    lines = [_Line(entry, timezone) for entry in entries]
    known = _known(standing)
    chosen: dict[int, str] = {}
    for schedules in (True, False):
        for number, line in enumerate(lines):
            same = [each for each in known[line.plain] if each.call == line.call]
            alike = [each.name for each in same if each.schedule == line.schedule or not schedules]
            free = [name for name in alike if name not in chosen.values()]
            if free and number not in chosen:
                chosen[number] = min(free, key=len)
    _name_others(lines, chosen)
    names = [chosen[number] for number in range(len(lines))]
    plain = {line.plain for line in lines}
    return Names(names, sorted({each.name for one in plain for each in known[one]} - {*names}))


def _known(standing: Iterable[Definition]) -> dict[str, list[_Known]]:
    """Tasks by what their names have in common."""
    known = defaultdict[str, list[_Known]](list)
    for task in standing:
        if isinstance(task.trigger, Cron):
            call = _digest(msgspec.to_builtins(task.action))
            schedule = (task.trigger.cron, task.trigger.timezone)
            known[_TOLD_APART.sub("", task.name)].append(_Known(task.name, call, schedule))
    return known


def _name_others(lines: Sequence[_Line], chosen: dict[int, str]) -> None:
    urls = Counter(line.plain for line in lines)
    calls = Counter((line.plain, line.call) for line in lines)
    for number, line in enumerate(lines):
        if number not in chosen:
            told_apart = (urls[line.plain] > 1) + (calls[line.plain, line.call] > 1)
            taken = {*chosen.values()}
            chosen[number] = next(
                name for place, name in enumerate(line.names()) if place >= told_apart and name not in taken
            )


def _digest(action: dict[str, Any], *more: Any) -> str:
    told = [action[member] for member in ("url", "method", "headers")], action.get("payload"), more
    return sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


def _plain(url: str) -> str:
    parts: Any = urlsplit(url)
    name = f"{parts.hostname or ''}{f':{parts.port}' if _port(parts) else ''}{parts.path.rstrip('/')}"
    return name[:_LONGEST_NAME] or url[:_LONGEST_NAME]


def _port(parts: Any) -> int | None:
    try:
        return parts.port or None
    except ValueError:
        return None
