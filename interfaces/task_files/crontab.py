"""Taking over a crontab: its lines that call a URL, as tasks; all others with why they are none."""

from __future__ import annotations

import getopt
import json
import math
import re
import shlex
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlsplit

import msgspec
from msgspec import Struct, field

from domain.definition import Cron, Definition
from interfaces.task_files.files import Document, TaskFile, declaration

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
USUAL_TIMEOUT_SECONDS = 30.0
NOWHERE = frozenset({"-", "/dev/null", "/dev/stdout", "/dev/stderr"})


class NotUnderstood(Exception):
    """The command is none that a task could take the place of; the message says why."""


class Called(Struct):
    """A call, put together option by option. `body` None: there is none; `timeout` None: the usual one."""

    url: str = ""
    method: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    timeout: float | None = None
    connect_timeout: float | None = None
    redirects: int = 0
    retries: int = 0

    def header(self, name: str, value: str, between: str = ", ") -> None:
        """Add a header; one that is there already gets a further value."""
        same = next((known for known in self.headers if known.lower() == name.lower()), name)
        self.headers[same] = f"{self.headers[same]}{between}{value}" if same in self.headers else value

    def usual_header(self, name: str, value: str) -> None:
        """Add a header that the command sends unless it is told another one."""
        if not self._has(name):
            self.headers[name] = value

    def basic(self, credentials: str) -> None:
        """Log in with `user:password`."""
        if ":" not in credentials:
            raise NotUnderstood("it would ask for a password: give it as user:password")
        self.header("Authorization", f"Basic {b64encode(credentials.encode()).decode()}")

    def entry(self) -> dict[str, Any]:
        """The members of a task. Raises `NotUnderstood`."""
        if not self.url:
            raise NotUnderstood("it names no URL")
        url = self.url if "://" in self.url else f"http://{self.url}"
        try:
            urlsplit(url)
        except ValueError as error:
            raise NotUnderstood(f"its URL cannot be read ({error})") from None
        timeout = self.timeout or USUAL_TIMEOUT_SECONDS
        action: dict[str, Any] = {
            "method": (self.method or ("GET" if self.body is None else "POST")).upper(),
            "url": url,
            "timeout_seconds": timeout,
            "max_redirects": self.redirects,
        }
        if self.connect_timeout:
            action["connect_timeout_seconds"] = min(self.connect_timeout, timeout)
        if self.body is not None:
            self.usual_header("Content-Type", _FORM)
            action["payload"] = self._payload(self.body)
        return {
            "action": action | {"headers": self.headers},
            "retry": {"max_attempts": self.retries + 1},
        }

    def _payload(self, body: str) -> Any:
        """JSON as such, for people to read, if the same bytes are sent then; all else as it is."""
        kind = next(value for name, value in self.headers.items() if name.lower() == "content-type")
        if kind.partition(";")[0].strip().lower() != _JSON:
            return body
        try:
            value = json.loads(body)
        except ValueError:
            return body
        same = isinstance(value, dict | list) and msgspec.json.encode(value).decode() == body
        return value if same else body

    def _has(self, name: str) -> bool:
        return any(known.lower() == name.lower() for known in self.headers)


def table(text: str) -> dict[str, str]:
    """Options by their long names, with their letters, which are empty where there is none."""
    return {name: letter for name, _, letter in (option.strip().partition(" ") for option in text.split(","))}


def options(
    arguments: Sequence[str], known: dict[str, str], with_value: dict[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The options by their long names, in order, and what is none. Raises `NotUnderstood`.

    `known` and `with_value` map long names to short ones, or to nothing.
    """
    short = "".join(known.values()) + "".join(f"{letter}:" for letter in with_value.values() if letter)
    long = [*known, *(f"{name}=" for name in with_value)]
    names = {f"-{letter}": name for name, letter in (known | with_value).items() if letter}
    try:
        found, rest = getopt.gnu_getopt([*arguments], short, long)
    except getopt.GetoptError as error:
        if "requires argument" in str(error):
            raise NotUnderstood(f"{_dashed(error.opt)} is not told its value") from None
        raise NotUnderstood(
            f"{_dashed(error.opt)} has no counterpart here: leave it out if the call can do without it"
        ) from None
    return [(names.get(option, option.removeprefix("--")), value) for option, value in found], rest


def number(option: str, value: str) -> float:
    """The value of an option that counts. Raises `NotUnderstood`."""
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise NotUnderstood(f"{_dashed(option)} {value} is no number")
    return found


def kept_nowhere(option: str, target: str) -> None:
    """Refuse an option that writes to a file, unless nobody reads that. Raises `NotUnderstood`."""
    if target not in NOWHERE:
        raise NotUnderstood(
            f"{_dashed(option)} writes to the file {target}, and a task writes none: say /dev/null if nobody "
            "reads it"
        )


def _dashed(option: str) -> str:
    return f"-{option}" if len(option) == 1 else f"--{option}"


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


# What is printed does not matter: the service keeps the answer.
_PRINTED = table(
    "silent s, show-error S, fail f, verbose v, include i, progress-bar #, no-buffer N, "
    "fail-with-body, no-progress-meter, compressed, disable q, ipv4 4, ipv6 6"
)
_WRITTEN_TO = table("output o, dump-header D, stderr")
_CURL_FLAGS = _PRINTED | table("remote-name O, get G, head I, location L, globoff g")
_DATA = table("data d, data-ascii, data-raw, data-binary, data-urlencode, json")
_HEADERS = {"user-agent": "User-Agent", "referer": "Referer"}
_SECONDS = {"max-time": "timeout", "connect-timeout": "connect_timeout"}
_CURL_VALUES = (
    _WRITTEN_TO
    | _DATA
    | table("write-out w, request X, header H, url, user u, user-agent A, referer e, cookie b, oauth2-bearer")
    | table("max-time m, connect-timeout, retry, max-redirs")
)
# curl follows fifty, a task ten at most.
_MOST_REDIRECTS = 10


def called_by_curl(arguments: Sequence[str], stdin: str) -> Called:
    """The call that such a command makes; `stdin` is what it is given. Raises `NotUnderstood`."""
    found, urls = options(arguments, _CURL_FLAGS, _CURL_VALUES)
    call, given = Called(), dict(found)
    for option, value in found:
        _apply_curl(call, option, value, stdin)
    urls += [value for option, value in found if option == "url"]
    if len(urls) > 1:
        raise NotUnderstood(f"it calls {len(urls)} URLs: give each a line of its own")
    call.url = urls[0] if urls else ""
    if "globoff" not in given and re.search(r"[\[\]{}]", call.url):
        raise NotUnderstood("the brackets in its URL stand for several URLs: give each a line of its own")
    if "location" in given:
        call.redirects = min(int(number("max-redirs", given.get("max-redirs", "10"))), _MOST_REDIRECTS)
    if "get" in given and call.body is not None:
        url, mark, fragment = call.url.partition("#")
        call.url = f"{url}{'&' if '?' in url else '?'}{call.body}{mark}{fragment}"
        call.body = None
    return call


def _apply_curl(call: Called, option: str, value: str, stdin: str) -> None:
    match option:
        case "request":
            call.method = value
        case "head":
            call.method = call.method or "HEAD"
        case "header":
            _header(call, value)
        case "user":
            call.basic(value)
        case "oauth2-bearer":
            call.header("Authorization", f"Bearer {value}")
        case "cookie":
            _cookie(call, value)
        case "retry":
            call.retries = int(number(option, value))
        case "remote-name":
            raise NotUnderstood("-O keeps the answer as a file, and a task writes none")
        case _ if option in _WRITTEN_TO:
            kept_nowhere(option, value)
        case _ if option in _HEADERS:
            call.headers[_HEADERS[option]] = value
        case _ if option in _SECONDS:
            setattr(call, _SECONDS[option], number(option, value))
        case _ if option in _DATA:
            _data(call, option, value, stdin)


def _cookie(call: Called, value: str) -> None:
    if "=" not in value:
        raise NotUnderstood(f"it reads its cookies from the file {value}")
    call.header("Cookie", value, between="; ")


def _header(call: Called, text: str) -> None:
    if text.startswith("@"):
        raise NotUnderstood(f"it reads its headers from the file {text[1:]}")
    name, colon, value = text.partition(":")
    if colon and value.strip():
        call.header(name.strip(), value.strip())
    elif text.endswith(";"):
        call.header(text[:-1].strip(), "")


def _data(call: Called, option: str, value: str, stdin: str) -> None:
    text = value
    if option == "data-urlencode":
        text = _encoded(value)
    elif value.startswith("@") and option != "data-raw":
        if value != "@-":
            raise NotUnderstood(f"it reads its data from the file {value[1:]}")
        text = stdin if option in {"data-binary", "json"} else stdin.replace("\n", "").replace("\r", "")
    between = "" if option == "json" else "&"
    call.body = text if call.body is None else f"{call.body}{between}{text}"
    if option == "json":
        call.usual_header("Content-Type", "application/json")
        call.usual_header("Accept", "application/json")


def _encoded(value: str) -> str:
    """As curl does it: `content`, `=content` or `name=content`, of which the content is encoded."""
    name, equals, content = value.partition("=")
    if not equals:
        if "@" in value:
            raise NotUnderstood(f"it reads its data from the file {value.partition('@')[2]}")
        return quote_plus(value)
    return f"{name}={quote_plus(content)}" if name else quote_plus(content)


_WGET_FLAGS = table(
    "quiet q, no-verbose, verbose v, delete-after, server-response S, content-on-error, no-cache, spider"
)
_WGET_VALUES = table(
    "output-document O, output-file o, header, post-data, body-data, method, timeout T, connect-timeout, "
    "tries t, user, password, http-user, http-password, user-agent U, max-redirect"
)


def called_by_wget(arguments: Sequence[str]) -> Called:
    """The call that such a command makes; redirects are followed, as wget does. Raises `NotUnderstood`."""
    found, urls = options(_letters(arguments), _WGET_FLAGS, _WGET_VALUES)
    if len(urls) > 1:
        raise NotUnderstood(f"it calls {len(urls)} URLs: give each a line of its own")
    call, given = Called(url=urls[0] if urls else "", redirects=_MOST_REDIRECTS), dict(found)
    for option, value in found:
        _apply_wget(call, option, value)
    if not given.keys() & {"output-document", "delete-after", "spider"}:
        raise NotUnderstood(
            "it keeps the answer as a file, and a task writes none: add -O /dev/null if nobody reads it"
        )
    user = given.get("user", given.get("http-user"))
    if user is not None:
        call.basic(f"{user}:{given.get('password', given.get('http-password', ''))}")
    return call


def _letters(arguments: Sequence[str]) -> list[str]:
    """`-nv` is one option, which no table of letters can tell."""
    return ["--no-verbose" if argument == "-nv" else argument for argument in arguments]


def _apply_wget(call: Called, option: str, value: str) -> None:
    match option:
        case "output-document":
            kept_nowhere(option, value)
        case "method":
            call.method = value
        case "spider":
            call.method = call.method or "HEAD"
        case "header":
            name, _, text = value.partition(":")
            call.header(name.strip(), text.strip())
        case "post-data" | "body-data":
            call.body = value
        case "timeout":
            call.timeout = number(option, value)
        case "connect-timeout":
            call.connect_timeout = number(option, value)
        case "tries":
            call.retries = max(0, int(number(option, value)) - 1)
        case "user-agent":
            call.header("User-Agent", value)
        case "max-redirect":
            call.redirects = min(int(number(option, value)), _MOST_REDIRECTS)


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
