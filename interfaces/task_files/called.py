"""What a command line that calls a URL comes to, as the members of a task."""

from __future__ import annotations

import getopt
import json
import math
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Sequence

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
