"""Taking over a crontab: its lines that call a URL, as tasks; all others with why they are none."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from interfaces.task_files.called import NOWHERE, NotUnderstood
from interfaces.task_files.crontab_names import names_of
from interfaces.task_files.curl import called_by_curl
from interfaces.task_files.reading import TaskFile, declaration
from interfaces.task_files.wget import called_by_wget
from interfaces.task_files.yaml_text import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from domain.definition import Definition
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
# At the end, and without quotes.
_REDIRECTED = re.compile(r"(?:\s+[0-9&]?>>?\s*(?:&[0-9-]|[^\s'\"<>|&;()]+)|\s+<\s*/dev/null)+\s*$")
_KEPT_IN = re.compile(r"(?:^|[\s1&])>\s*([^\s&>]\S*)")
_WITHOUT_EFFECT = re.compile(r"\s*\|\|\s*(?:true|:)\s*$")
_SHELL = frozenset("();<>|&")
_IN_SINGLE_QUOTES = re.compile(r"'[^']*'")


class Line(NamedTuple):
    """A line that is no task, by its number from 1, and why."""

    number: int
    why: str


class Crontab(NamedTuple):
    """What the lines declare, those that declare nothing, and how many of the former stand in no CRON_TZ.

    `left`: names of tasks that seem to have stood for lines which are not there any more.
    """

    file: TaskFile
    left_out: list[Line]
    without_zone: int
    left: list[str]


class _Job(NamedTuple):
    number: int
    cron: str
    command: str
    timezone: str | None


class _Found(NamedTuple):
    job: _Job
    entry: dict[str, Any]


def read_crontab(
    text: str, default_timezone: str, standing: Iterable[Definition] = (), *, system: bool
) -> Crontab:
    """The tasks of a crontab; of a `system` one, whose lines name a user before the command.

    Those that are `standing` already keep their names, whatever becomes of the lines beside theirs.
    `default_timezone` is that of lines before which no CRON_TZ is set; TZ is for the command alone.
    """
    found, left_out = list[_Found](), list[Line]()
    for job in _jobs(text, system=system):
        if isinstance(job, Line):
            left_out.append(job)
            continue
        try:
            zone = {} if job.timezone is None else {"timezone": job.timezone}
            trigger = {"type": "cron", "cron": job.cron, **zone}
            found.append(_Found(job, {"trigger": trigger, **_called(job.command, system=system).entry()}))
        except NotUnderstood as error:
            left_out.append(Line(job.number, str(error)))
    names = names_of([one.entry for one in found], default_timezone, standing)
    declarations = [
        declaration(number, f"line {one.job.number}", {"name": name, **one.entry}, default_timezone)
        for number, (name, one) in enumerate(zip(names.chosen, found, strict=True))
    ]
    without_zone = sum(one.job.timezone is None for one in found)
    return Crontab(TaskFile(declarations, Document(None, None)), left_out, without_zone, names.left)


def _jobs(text: str, *, system: bool) -> Iterator[_Job | Line]:
    zones: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line_of = line.strip()
        if not line_of or line_of.startswith("#"):
            continue
        if variable := _VARIABLE.match(line):
            zones[variable["name"]] = variable["value"].strip("\"'")
            if variable["name"] == "TZ":
                yield Line(
                    number, "TZ does not move the schedule, only CRON_TZ does: say that if it is meant"
                )
            continue
        yield _job(number, line_of, zones.get("CRON_TZ") or None, system=system)


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


def _called(command: str, *, system: bool) -> Called:
    """Raises `NotUnderstood`."""
    command, _, stdin = _PERCENT.sub("\n", command).replace("\\%", "%").partition("\n")
    command = _printed_only(_WITHOUT_EFFECT.sub("", command))
    if mark := re.search(r"[$`]", _IN_SINGLE_QUOTES.sub("", command)):
        raise NotUnderstood(f"the shell would replace what begins with {mark[0]}: write out what is meant")
    program, *arguments = _words(command)
    if variable := _VARIABLE.match(program):
        raise NotUnderstood(
            f"it sets a variable ({variable['name']}), and a task has none: write out its value"
        )
    match program.rpartition("/")[2]:
        case "curl":
            return called_by_curl(arguments, stdin)
        case "wget":
            return called_by_wget(arguments)
        case _:
            named = not system and arguments and arguments[0].rpartition("/")[2] in {"curl", "wget"}
            hint = f"; if {program} is the user that runs it, add --system" if named else ""
            raise NotUnderstood(
                f"it runs {program}, and a task calls a URL: only curl and wget are taken over{hint}"
            )


def _printed_only(command: str) -> str:
    """The command without where its output goes, which does not matter unless it is kept in a file.

    What is appended to a file is a log. Raises `NotUnderstood`.
    """
    redirected = _REDIRECTED.search(command)
    if redirected is None:
        return command
    for target in _KEPT_IN.findall(redirected[0]):
        if target not in NOWHERE:
            raise NotUnderstood(
                f"it writes to the file {target}, and a task writes none: say /dev/null if nobody reads it"
            )
    return command[: redirected.start()]


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
