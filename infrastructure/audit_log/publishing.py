"""Publishing heads where whoever changes the log cannot change them: to a file, or to a URL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import structlog
from msgspec import Struct

from domain.audit import SignedHead, TreeHead

ANSWER_SECONDS = 10.0
RETRY_SECONDS = 30.0
TAIL_BYTES = 4_096
"""Of a file: its last lines are in them."""

log = structlog.get_logger(__name__)


class HeadsUnreadable(Exception):
    """A file of published heads cannot be read; the sentence says which line, and why."""


class NotPublished(Exception):
    """A head could not be published; the sentence says why."""


class _Line(Struct, frozen=True, kw_only=True):
    """A head as the API shows it, too: bytes in hexadecimal."""

    tree_size: int
    root_hash: str
    last_position: int
    sealed_at: datetime
    key_id: str
    signature: str


def encode(signed: SignedHead) -> bytes:
    """A head as one JSON object."""
    line = _Line(
        tree_size=signed.head.tree_size,
        root_hash=signed.head.root_hash.hex(),
        last_position=signed.head.last_position,
        sealed_at=signed.head.sealed_at,
        key_id=signed.key_id.hex(),
        signature=signed.signature.hex(),
    )
    return msgspec.json.encode(line)


def decode(text: bytes) -> SignedHead:
    """The head that was published. Raises `ValueError`."""
    line = msgspec.json.decode(text, type=_Line)
    head = TreeHead(
        tree_size=line.tree_size,
        root_hash=bytes.fromhex(line.root_hash),
        last_position=line.last_position,
        sealed_at=line.sealed_at,
    )
    return SignedHead(head=head, key_id=bytes.fromhex(line.key_id), signature=bytes.fromhex(line.signature))


def read_published(path: Path) -> Sequence[SignedHead]:
    """The heads of a file, a JSON object a line, at least one. Raises `HeadsUnreadable`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise HeadsUnreadable(f"{path} cannot be read ({error.strerror})") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found += [decode(line)] if line.strip() else []
        except ValueError as error:
            raise HeadsUnreadable(f"{path}, line {number}: this is no head ({error})") from error
    if not found:
        raise HeadsUnreadable(f"{path} holds no head, so nothing can be compared with it: give another file")
    return found


class Target(Protocol):
    """Where heads go."""

    async def publish(self, signed: SignedHead) -> None:
        """Put a head there, unless it is the one that was put there last. Raises `NotPublished`."""
        ...


class HeadFile:
    """Appends a line a head, and has it on the disk before it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def publish(self, signed: SignedHead) -> None:
        """See `Target`."""
        try:
            await asyncio.to_thread(self._append, encode(signed))
        except OSError as error:
            raise NotPublished(f"{self._path} cannot be written ({error.strerror})") from error

    def _append(self, line: bytes) -> None:
        with self._path.open("a+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            tail = file.read()
            if tail.endswith(line + b"\n"):
                return
            torn = tail and not tail.endswith(b"\n")  # as a power cut leaves it
            file.write((b"\n" if torn else b"") + line + b"\n")
            file.flush()
            os.fsync(file.fileno())


class HeadUrl:
    """Posts a head as JSON; any 2xx means that it is kept there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._host = urlsplit(url).hostname  # the rest may hold secrets

    async def publish(self, signed: SignedHead) -> None:
        """See `Target`."""
        import httpx  # noqa: PLC0415 - only who publishes to a URL pays for it

        try:
            async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
                headers = {"Content-Type": "application/json"}
                answer = await client.post(self._url, content=encode(signed), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotPublished(f"{self._host} does not answer ({type(error).__name__})") from error
        if not answer.is_success:
            raise NotPublished(f"{self._host} answers {answer.status_code}")


def target_of(place: str) -> Target:
    """A URL or the path of a file."""
    return HeadUrl(place) if place.startswith(("http://", "https://")) else HeadFile(Path(place))


class Publisher:
    """Publishes the latest head that it was offered, so often at most; what fails is tried again."""

    def __init__(self, target: Target, every_seconds: float) -> None:
        self._target = target
        self._every_seconds = every_seconds
        self._offered = asyncio.Event()
        self._latest: SignedHead | None = None
        self._published: SignedHead | None = None

    def offer(self, signed: SignedHead) -> None:
        """There is a head."""
        if signed != self._published:
            self._latest = signed
            self._offered.set()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            await asyncio.sleep(self._every_seconds if await self._publish() else self._retry_seconds())

    async def _publish(self) -> bool:
        signed = self._latest
        assert signed is not None, "it was offered"
        try:
            await self._target.publish(signed)
        except NotPublished as error:
            log.warning("a head was not published; trying again", error=str(error))
            self._offered.set()
            return False
        self._published = signed
        return True

    def _retry_seconds(self) -> float:
        return min(RETRY_SECONDS, self._every_seconds)
