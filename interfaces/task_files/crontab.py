"""Taking over a crontab: its lines that call a URL, as tasks; all others with why they are none."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from interfaces.task_files.called import NotUnderstood
from interfaces.task_files.curl import called_by_curl
from interfaces.task_files.reading import TaskFile, declaration
from interfaces.task_files.wget import called_by_wget
from interfaces.task_files.yaml_text import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interfaces.task_files.called import Called

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_VARIABLE = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<value>.*?)\s*$")
_PERCENT = re.compile(r"(?<!\\)%")
# At the end, and without quotes: where the output goes does not matter.
_REDIRECTED = re.compile(r"(?:\s+[0-9&]?>>?\s*(?:&[0-9-]|[^\s'\"<>|&;()]+)|\s+<\s*/dev/null)+\s*$")
_WITHOUT_EFFECT = re.compile(r"\s*\|\|\s*(?:true|:)\s*$")
_SHELL = frozenset("();<>|&")
_IN_SINGLE_QUOTES = re.compile(r"'[^']*'")
_LONGEST_NAME = 240


class Line(NamedTuple):
    """A line that is no task, by its number from 1, and why."""

    number: int
    why: str


class Crontab(NamedTuple):
    """What the lines declare, and those that declare nothing."""

    file: TaskFile
    left_out: list[Line]


class _Job(NamedTuple):
    number: int
    cron: str
    command: str
    timezone: str | None


def read_crontab(text: str, default_timezone: str, *, system: bool) -> Crontab:
    """The tasks of a crontab; of a `system` one, whose lines name a user before the command.

    `default_timezone` is that of lines before which neither CRON_TZ nor TZ is set.
    """
    file, left_out = TaskFile([], Document(None, None)), []
    names: dict[str, int] = {}
    for job in _jobs(text, system=system):
        try:
            if isinstance(job, Line):
                left_out.append(job)
                continue
            entry = _called(job.command).entry()
        except NotUnderstood as error:
            left_out.append(Line(job.number, str(error)))
            continue
        zone = {} if job.timezone is None else {"timezone": job.timezone}
        task = {
            "name": _name(entry["action"]["url"], names),
            "trigger": {"type": "cron", "cron": job.cron, **zone},
            **entry,
        }
        number, place = len(file.declarations), f"line {job.number}"
        file.declarations.append(declaration(number, place, task, default_timezone))
    return Crontab(file, left_out)


def _jobs(text: str, *, system: bool) -> Iterator[_Job | Line]:
    zones: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line_of = line.strip()
        if not line_of or line_of.startswith("#"):
            continue
        if variable := _VARIABLE.match(line):
            zones[variable["name"]] = variable["value"].strip("\"'")
            continue
        zone = zones.get("CRON_TZ") or zones.get("TZ")
        yield _job(number, line_of, zone, system=system)


def _job(number: int, line: str, zone: str | None, *, system: bool) -> _Job | Line:
    nickname = line.startswith("@")
    fields = line.split(None, (1 if nickname else 5) + system)
    if len(fields) < (2 if nickname else 6) + system:
        return Line(
            number, "it has too few fields: five of the schedule, or a nickname such as @daily, and a command"
        )
    if not nickname:
        return _Job(number, " ".join(fields[:5]), fields[-1], zone)
    cron = _NICKNAMES.get(fields[0].lower())
    if cron is None:
        return Line(number, f"{fields[0]} is no schedule that a task could have")
    return _Job(number, cron, fields[-1], zone)


def _called(command: str) -> Called:
    """Raises `NotUnderstood`."""
    command, _, stdin = _PERCENT.sub("\n", command).replace("\\%", "%").partition("\n")
    command = _REDIRECTED.sub("", _WITHOUT_EFFECT.sub("", command))
    if mark := re.search(r"[$`]", _IN_SINGLE_QUOTES.sub("", command)):
        raise NotUnderstood(f"the shell would replace what begins with {mark[0]}: write out what is meant")
    program, *arguments = _words(command)
    match program.rpartition("/")[2]:
        case "curl":
            return called_by_curl(arguments, stdin)
        case "wget":
            return called_by_wget(arguments)
        case _:
            raise NotUnderstood(
                f"it runs {program}, and a task calls a URL: only curl and wget are taken over"
            )


def _words(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = [*lexer]
    except ValueError as error:
        raise NotUnderstood(f"its quotes do not match ({error})") from None
    if strange := next((word for word in words if word and _SHELL.issuperset(word)), None):
        raise NotUnderstood(f"it is more than one command, or an unquoted {strange}: a task makes one call")
    return words or [""]


def _name(url: str, names: dict[str, int]) -> str:
    """The URL without what may be secret; a second one of the same gets its number."""
    parts: Any = urlsplit(url)
    name = f"{parts.hostname or ''}{f':{parts.port}' if _port(parts) else ''}{parts.path.rstrip('/')}"
    name = name[:_LONGEST_NAME] or url[:_LONGEST_NAME]
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name} ({names[name]})"


def _port(parts: Any) -> int | None:
    try:
        return parts.port or None
    except ValueError:
        return None
