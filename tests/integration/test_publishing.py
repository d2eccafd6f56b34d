"""Publishing heads: each once and in order, kept through refusals, and what they find later."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.audit import SignedHead, TreeHead
from infrastructure.audit_log import publishing
from infrastructure.audit_log.keys import ensure_key
from infrastructure.audit_log.publishing import (
    HeadFile,
    HeadsUnreadable,
    HeadUrl,
    NotPublished,
    Publisher,
    decode,
    encode,
    read_published,
    target_of,
)
from infrastructure.audit_log.sealer import Sealer
from tests.support.projecting import connect, until
from tests.support.random_log import RandomLog
from tests.support.sealing import KEY, as_superuser, verified
from tests.support.stored import append

NOON = datetime(2030, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
SOON = 0.01


def head(size: int) -> SignedHead:
    stated = TreeHead(tree_size=size, root_hash=b"\x07" * 32, last_position=size, sealed_at=NOON)
    return KEY.sign(stated)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_a_head_is_read_as_it_was_published() -> None:
    assert decode(encode(head(3))) == head(3)


async def test_a_file_gets_a_line_a_head_and_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    for size in (1, 2, 2, 3):
        await HeadFile(path).publish(head(size))
    assert read_published(path) == [head(1), head(2), head(3)]


async def test_a_line_that_a_power_cut_left_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "heads"
    path.write_bytes(encode(head(1)) + b"\n" + encode(head(2))[:20])
    await HeadFile(path).publish(head(3))
    first, torn, last = path.read_bytes().splitlines()
    assert (decode(first), torn, decode(last)) == (head(1), encode(head(2))[:20], head(3))
    with pytest.raises(HeadsUnreadable, match="line 2: this is no head"):
        read_published(path)


async def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotPublished, match="cannot be written"):
        await HeadFile(tmp_path / "none" / "heads").publish(head(1))
    with pytest.raises(HeadsUnreadable, match="cannot be read"):
        read_published(tmp_path / "none")


def test_a_file_without_heads_is_no_witness(tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("\n")
    with pytest.raises(HeadsUnreadable, match="holds no head"):
        read_published(tmp_path / "heads")


class Collector:
    """A server that keeps what is posted, once it has refused as often as it was told."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.kept: list[SignedHead] = []
        self.url = ""

    async def __aenter__(self) -> Collector:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/heads?token=secret"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(asked.partition("content-length: ")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        assert asked.startswith("post /heads?token=secret ")
        assert "content-type: application/json\r\n" in asked
        self.refusals -= 1
        status = "503 Busy" if self.refusals >= 0 else "204 Kept"
        if self.refusals < 0:
            self.kept.append(decode(body))
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


async def test_a_url_gets_a_post_a_head_and_its_secrets_are_not_told() -> None:
    async with Collector(refusals=1) as collector:
        with pytest.raises(NotPublished, match=r"^127\.0\.0\.1 answers 503$"):
            await HeadUrl(collector.url).publish(head(1))
        await HeadUrl(collector.url).publish(head(2))
    assert collector.kept == [head(2)]
    with pytest.raises(NotPublished, match=r"^127\.0\.0\.1 does not answer \(ConnectError\)$"):
        await HeadUrl(collector.url).publish(head(3))


async def test_what_is_refused_is_tried_again_until_the_latest_head_is_kept() -> None:
    async with Collector(refusals=2) as collector:
        publisher = Publisher(target_of(collector.url), SOON)
        publisher.offer(head(1))
        async with beside(publisher.run()):

            async def kept() -> bool:
                return bool(collector.kept)

            await until(kept)
            publisher.offer(head(1))
            publisher.offer(head(2))
            publisher.offer(head(3))

            async def latest() -> bool:
                return collector.kept[-1] == head(3)

            await until(latest)
    # What came between was outdated by then.
    assert collector.kept == [head(1), head(3)]


async def test_a_target_is_a_url_or_a_file(tmp_path: Path) -> None:
    assert isinstance(target_of("https://example.com/x"), HeadUrl)
    assert isinstance(target_of(str(tmp_path / "heads")), HeadFile)


async def test_published_heads_find_a_log_that_was_rewound_and_has_grown_anew(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "RETRY_SECONDS", SOON)
    key_file, path = tmp_path / "audit.key", tmp_path / "heads"
    ensure_key(key_file)
    publisher = Publisher(HeadFile(path), SOON)

    def sealer() -> Sealer:
        return Sealer(database, key_file, publisher.offer, SOON)

    async def published(position: int) -> None:
        async def there() -> bool:
            return path.exists() and read_published(path)[-1].head.last_position == position

        await until(there)

    async with await connect(database) as connection:
        async with beside(publisher.run()), beside(sealer().run()):
            await published(await append(connection, RandomLog(1).grow(50)))
            await published(await append(connection, RandomLog(2).grow(50)))
        _, heard = await verified(database, witnessed=read_published(path))
        assert heard.findings == []
        first = read_published(path)[0].head
        # As a backup of that moment, restored, has it.
        await as_superuser(
            connection,
            f"DELETE FROM events WHERE notification_id > {first.last_position}",
            f"DELETE FROM sealed_blocks WHERE first_leaf >= {first.tree_size}",
            f"DELETE FROM tree_heads WHERE tree_size > {first.tree_size}",
            f"SELECT setval(pg_get_serial_sequence('events', 'notification_id'), {first.last_position})",
        )
        kept = read_published(path)
        # Begun anew on purpose, or by who can write beside the key.
        key_file.with_suffix(".head").unlink()
        async with beside(sealer().run()):
            position = await append(connection, RandomLog(3).grow(200))

            async def sealed() -> bool:
                found, _ = await verified(database)
                return found.position == position

            await until(sealed)
    _, heard = await verified(database)
    assert heard.findings == []
    _, heard = await verified(database, witnessed=kept)
    last = kept[-1].head.last_position
    assert heard.places() == [("event_changed", first.last_position + 1, last)]
