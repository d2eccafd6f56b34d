"""curl's command line, as far as it has a counterpart in a task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from interfaces.task_files.called import Called, NotUnderstood, kept_nowhere, number, options, table

if TYPE_CHECKING:
    from collections.abc import Sequence

# What is printed does not matter: the service keeps the answer.
_PRINTED = table(
    "silent s, show-error S, fail f, verbose v, include i, progress-bar #, no-buffer N, "
    "fail-with-body, no-progress-meter, compressed, disable q, ipv4 4, ipv6 6"
)
_WRITTEN_TO = table("output o, dump-header D, stderr")
_FLAGS = _PRINTED | table("remote-name O, get G, head I, location L, globoff g")
_DATA = table("data d, data-ascii, data-raw, data-binary, data-urlencode, json")
_HEADERS = {"user-agent": "User-Agent", "referer": "Referer"}
_SECONDS = {"max-time": "timeout", "connect-timeout": "connect_timeout"}
_VALUES = (
    _WRITTEN_TO
    | _DATA
    | table("write-out w, request X, header H, url, user u, user-agent A, referer e, cookie b, oauth2-bearer")
    | table("max-time m, connect-timeout, retry, max-redirs")
)
# curl follows fifty, a task ten at most.
_MOST_REDIRECTS = 10


def called_by_curl(arguments: Sequence[str], stdin: str) -> Called:
    """The call that such a command makes; `stdin` is what it is given. Raises `NotUnderstood`."""
    found, urls = options(arguments, _FLAGS, _VALUES)
    call, given = Called(), dict(found)
    for option, value in found:
        _apply(call, option, value, stdin)
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


def _apply(call: Called, option: str, value: str, stdin: str) -> None:
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
