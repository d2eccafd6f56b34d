"""A sealer signs nothing where what is sealed is not what was signed last."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from domain.audit import SignedHead, TreeHead
from infrastructure.audit_log.keys import ensure_key, read_signing_key
from infrastructure.audit_log.sealer import LastHead, Sealer, SealsDiffer, seal_block
from infrastructure.audit_log.store import latest_heads
from tests.support.projecting import connect, until
from tests.support.random_log import RandomLog
from tests.support.sealers import sealed_up_to, sealing, told
from tests.support.sealing import KEY, as_superuser, audit_log, verified
from tests.support.stored import append

ALL_SEALS = ("DELETE FROM tree_heads", "DELETE FROM sealed_blocks", "DELETE FROM tree_nodes")
CHANGED_EVENT = "UPDATE events SET state = state || ' ' WHERE notification_id = 7"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "audit.key"
    ensure_key(path)
    return path


async def heads(connection: AsyncConnection) -> list[tuple[Any, ...]]:
    cursor = await connection.execute("SELECT tree_size, root_hash FROM tree_heads ORDER BY tree_size")
    return await cursor.fetchall()


async def test_seals_that_were_removed_are_not_made_anew(database: str, key_file: Path) -> None:
    source = RandomLog(3)
    async with await connect(database) as connection:
        with capture_logs() as logs:
            async with sealing(database, key_file):
                await sealed_up_to(connection, await append(connection, source.grow(10)))
                await as_superuser(connection, *ALL_SEALS, CHANGED_EVENT)
                await append(connection, source.grow(10))
                [line] = await told(logs, "error")
        assert (line["error"], line["file"]) == (
            "the head of 10 events, which was signed last, is not there",
            str(key_file.with_suffix(".head")),
        )
        assert await heads(connection) == []


async def test_a_sealer_that_starts_again_knows_what_was_signed_last(database: str, key_file: Path) -> None:
    source = RandomLog(3)
    async with await connect(database) as connection:
        async with sealing(database, key_file):
            await sealed_up_to(connection, await append(connection, source.grow(10)))
            await sealed_up_to(connection, await append(connection, source.grow(10)))
            await kept_head(key_file, 20)
        # A log of before, with what was sealed of it then.
        cut = "DELETE FROM {} WHERE {} > 10"
        await as_superuser(
            connection,
            cut.format("tree_heads", "tree_size"),
            "DELETE FROM sealed_blocks WHERE first_leaf >= 10",
            cut.format("events", "notification_id"),
        )
        assert (await verified(database))[1].findings == []
        before = await heads(connection)
        with capture_logs() as logs:
            async with sealing(database, key_file):
                assert "head of 20 events" in (await told(logs, "error"))[0]["error"]
        assert await heads(connection) == before
        key_file.with_suffix(".head").unlink()
        async with sealing(database, key_file):
            await sealed_up_to(connection, await append(connection, RandomLog(4).grow(5)))


async def kept_head(key_file: Path, size: int) -> None:
    async def kept() -> bool:
        signed = LastHead(key_file).signed
        return signed is not None and signed.head.tree_size == size

    await until(kept)


async def test_seals_that_fit_again_are_gone_on_from(database: str, key_file: Path) -> None:
    source = RandomLog(3)
    async with await connect(database) as connection, sealing(database, key_file):
        await sealed_up_to(connection, await append(connection, source.grow(10)))
        with capture_logs() as logs:
            change = "UPDATE sealed_blocks SET frontier = {}"
            await as_superuser(connection, change.format("frontier || sha256('')"))
            await append(connection, source.grow(10))
            await told(logs, "error")
            await as_superuser(connection, change.format("substring(frontier FOR length(frontier) - 32)"))
            await sealed_up_to(connection, await append(connection, source.grow(10)))
    assert (await verified(database))[1].findings == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DELETE FROM sealed_blocks", "there are heads without blocks"),
        ("DELETE FROM tree_heads", "there are blocks without heads"),
        ("UPDATE sealed_blocks SET frontier = ''", "the last block does not lead to the last head"),
        ("UPDATE sealed_blocks SET frontier = frontier || sha256('')", "the last block does not lead"),
        ("UPDATE sealed_blocks SET leaves = leaves - 1", "the last block does not lead"),
        ("UPDATE tree_heads SET root_hash = sha256('')", "has a signature that does not hold"),
        ("UPDATE tree_heads SET key_id = sha256('')", "none of those to verify with"),
    ],
)
async def test_seals_that_do_not_fit_each_other_are_not_gone_on_from(
    database: str, change: str, expected: str
) -> None:
    async with await connect(database) as connection:
        await audit_log(connection, 10)
        await append(connection, RandomLog(2).grow(10))
        without_checks = "ALTER TABLE sealed_blocks DROP CONSTRAINT sealed_blocks_check, "
        await as_superuser(connection, f"{without_checks} DROP CONSTRAINT sealed_blocks_check1", change)
        before = await heads(connection)
        with pytest.raises(SealsDiffer, match=expected):
            await seal_block(connection, KEY)
        assert await heads(connection) == before


async def test_a_log_that_was_sealed_anew_is_not_gone_on_from(database: str) -> None:
    async with await connect(database) as connection:
        await audit_log(connection, 10)
        [known] = await latest_heads(connection)
        await append(connection, RandomLog(2).grow(10))
        await as_superuser(connection, *ALL_SEALS, CHANGED_EVENT)
        await seal_block(connection, KEY)
        with pytest.raises(SealsDiffer, match="head of 10 events, which was signed last, is not there"):
            await seal_block(connection, KEY, known)
        await as_superuser(connection, *ALL_SEALS, "DELETE FROM events WHERE notification_id > 10")
        await seal_block(connection, KEY)
        with pytest.raises(SealsDiffer, match="has another root"):
            await seal_block(connection, KEY, known)


def signed(size: int) -> SignedHead:
    sealed_at = datetime(2030, 1, 1, tzinfo=UTC)
    return KEY.sign(TreeHead(tree_size=size, root_hash=bytes(32), last_position=size, sealed_at=sealed_at))


def test_the_head_that_was_signed_last_is_in_a_file_beside_the_key(key_file: Path) -> None:
    last = LastHead(key_file)
    assert last.signed is None
    for size in (1, 2):
        last.keep(signed(size))
        assert last.signed == LastHead(key_file).signed == signed(size)
    assert sorted(path.name for path in key_file.parent.iterdir()) == ["audit.head", "audit.key"]


def test_where_no_file_can_be_written_the_last_head_is_kept_in_memory_and_that_is_told(
    tmp_path: Path,
) -> None:
    last = LastHead(tmp_path / "none" / "audit.key")
    with capture_logs() as logs:
        last.keep(signed(1))
        last.keep(signed(2))
    assert last.signed == signed(2)
    assert [line["log_level"] for line in logs] == ["warning"]


def test_a_key_is_never_overwritten_by_a_head(tmp_path: Path) -> None:
    key_file = tmp_path / "my.head"
    ensure_key(key_file)
    LastHead(key_file).keep(signed(1))
    assert read_signing_key(key_file)
    assert LastHead(key_file).signed == signed(1)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", None])
async def test_a_file_that_holds_no_head_is_told_and_nothing_is_sealed(
    database: str, key_file: Path, content: bytes | None
) -> None:
    file = key_file.with_suffix(".head")
    file.mkdir() if content is None else file.write_bytes(content)
    with capture_logs() as logs:
        await Sealer(database, key_file).run()
    assert [line["log_level"] for line in logs] == ["error"]
    assert str(file) in logs[0]["error"]
