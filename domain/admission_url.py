"""Which URLs are admitted: absolute http(s) URLs in the letters of RFC 3986, which every parser reads alike.

Whether an address may be called is decided when it is dialled: what a name stands for may change until then.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_URL = 2048

_FOREIGN = re.compile(r"[^!#-;=?-\[\]_a-z~]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_USER = re.compile(r"[^/?#]*//[^/?#]*@")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\](?::[0-9]*)?", re.IGNORECASE)
# Systems read 127.1, 0x7f.1 and 2130706433 as addresses: only four decimal numbers are what they look like.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


def url_advice(url: str) -> str | None:
    """What to change about the URL, in one sentence; None if nothing."""
    if _USER.match(url):  # first of all: no other sentence may show a password
        return "The URL holds a user or password, which the task would show; use an Authorization header."
    if advice := _letters_advice(url):
        return advice
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"The URL {shown(url)} cannot be read; check the host, its brackets and the port (1-65535)."
    return _parts_advice(url, parts, port)


def _letters_advice(url: str) -> str | None:
    if len(url) > LONGEST_URL:
        return f"The URL has {len(url)} characters; give at most {LONGEST_URL:,}."
    if foreign := _FOREIGN.search(url):
        advice = "percent-encode it (a blank is %20), and give an international host in its xn-- form."
        return f"The URL {shown(url)} contains {shown(foreign[0])}; {advice}"
    if lone := _LONE_PERCENT.search(url):
        return f"The URL {shown(url)} contains {shown(lone[0])}; write %25 for a percent sign."
    return None


def _parts_advice(url: str, parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return f"The URL {shown(url)} does not start with http:// or https:// and a host; give one that does."
    if port == 0 or not _host_is_valid(parts.netloc, parts.hostname or ""):
        advice = "give a name, an IPv4 or [IPv6] address, and a port 1-65535 if any."
        return f"The URL's host {shown(parts.netloc)} is not valid; {advice}"
    if "#" in url:
        return f"The URL ends in {shown(url[url.index('#') :])}, which is never sent; leave it out."
    return None


@lru_cache(maxsize=1024)  # many tasks call few hosts
def _host_is_valid(netloc: str, host: str) -> bool:
    if netloc.startswith("["):
        return bool(_IPV6.fullmatch(netloc)) and _is_read_by(IPv6Address, host)
    if _NUMERIC.fullmatch(host):
        return _is_read_by(IPv4Address, host)
    return bool(_NAME.fullmatch(host))


def _is_read_by(read: Callable[[str], object], host: str) -> bool:
    try:
        read(host)
    except ValueError:
        return False
    return True
