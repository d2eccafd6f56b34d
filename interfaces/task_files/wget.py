"""wget's command line, as far as it has a counterpart in a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interfaces.task_files.called import Called, NotUnderstood, kept_nowhere, number, options, table

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS = table(
    "quiet q, no-verbose, verbose v, delete-after, server-response S, content-on-error, no-cache, spider"
)
_VALUES = table(
    "output-document O, output-file o, header, post-data, body-data, method, timeout T, connect-timeout, "
    "tries t, user, password, http-user, http-password, user-agent U, max-redirect"
)
_MOST_REDIRECTS = 10


def called_by_wget(arguments: Sequence[str]) -> Called:
    """The call that such a command makes; redirects are followed, as wget does. Raises `NotUnderstood`."""
    found, urls = options(_letters(arguments), _FLAGS, _VALUES)
    if len(urls) > 1:
        raise NotUnderstood(f"it calls {len(urls)} URLs: give each a line of its own")
    call, given = Called(url=urls[0] if urls else "", redirects=_MOST_REDIRECTS), dict(found)
    for option, value in found:
        _apply(call, option, value)
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


def _apply(call: Called, option: str, value: str) -> None:
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
