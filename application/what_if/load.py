"""What calls come to at their targets: how many are sent in a minute, and how many go on at once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from application.what_if.books import Call

MOST_PEAKS = 10
MOST_BUCKETS = 200
_MINUTE = timedelta(minutes=1)


class Peak(Struct, frozen=True, gc=False):
    """A minute, and how many calls are sent in it."""

    minute: datetime
    calls: int


class Load(Struct, frozen=True, kw_only=True):
    """How many calls are sent, and the minutes with the most, those first."""

    calls: int
    peaks: tuple[Peak, ...]


class Bucket(Struct, frozen=True, gc=False, kw_only=True):
    """A part of the window, and how many calls are sent in it."""

    start: datetime
    before: int
    after: int


class AtOnce(Struct, frozen=True, gc=False, kw_only=True):
    """How many calls go on at once, at most, and when so for the first time; None: there are none."""

    calls: int
    most: int
    at: datetime | None


class Loads(Struct, frozen=True, kw_only=True):
    """What calls come to, before and after: minutes, parts of the window that long, and destinations."""

    before: Load
    after: Load
    width: timedelta
    buckets: tuple[Bucket, ...]
    crowding: tuple[Crowding, ...]


class Crowding(Struct, frozen=True, gc=False, kw_only=True):
    """Calls to one destination, a host and a port."""

    destination: str
    before: AtOnce
    after: AtOnce


def load(sent: Sequence[datetime]) -> Load:
    """The load of calls that are sent at these instants."""
    minutes = Counter(instant.replace(second=0, microsecond=0) for instant in sent)
    peaks = sorted(minutes.items(), key=lambda item: (-item[1], item[0]))[:MOST_PEAKS]
    return Load(calls=len(sent), peaks=tuple(Peak(*peak) for peak in peaks))


def histogram(
    start: datetime, end: datetime, before: Sequence[datetime], after: Sequence[datetime]
) -> tuple[timedelta, list[Bucket]]:
    """At most 200 parts of a window, of whole minutes, and what is sent in each."""
    minutes = -((start - end) // _MINUTE)
    width = _MINUTE * -(-minutes // MOST_BUCKETS)
    counts = [Counter((instant - start) // width for instant in sent) for sent in (before, after)]
    parts = -((start - end) // width)
    return width, [
        Bucket(start=start + width * part, before=counts[0][part], after=counts[1][part])
        for part in range(parts)
    ]


def crowding(
    before: Mapping[str, Sequence[Call]], after: Mapping[str, Sequence[Call]], until: datetime
) -> list[Crowding]:
    """By destination: how many calls go on at once; one without an end goes on `until` then."""
    found = [
        Crowding(
            destination=destination,
            before=at_once(before.get(destination, ()), until),
            after=at_once(after.get(destination, ()), until),
        )
        for destination in sorted({*before, *after})
    ]
    return sorted(found, key=lambda each: -max(each.before.most, each.after.most))


def at_once(calls: Iterable[Call], until: datetime) -> AtOnce:
    """What ends at an instant makes room for what is sent at it, unless it took no time at all."""
    edges = sorted(edge for call in calls for edge in ((call.sent_at, 1), (_end(call, until), -1)))
    going, most, at = 0, 0, None
    for instant, step in edges:
        going += step
        if going > most:
            most, at = going, instant
    return AtOnce(calls=len(edges) // 2, most=most, at=at)


def _end(call: Call, until: datetime) -> datetime:
    ended_at = until if call.ended_at is None else call.ended_at
    return max(ended_at, call.sent_at + timedelta(microseconds=1))


def destination(url: str) -> str:
    """The host and port that a URL leads to."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.hostname}:{port}"
