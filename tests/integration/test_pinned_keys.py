"""Heads are believed under the keys that were pinned: which are not is told, and what else was changed."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infrastructure.audit_log.keys import SigningKey
from infrastructure.audit_log.store import latest_heads
from tests.support.projecting import connect
from tests.support.random_log import RandomLog
from tests.support.sealing import KEY, as_superuser, audit_log, seal, verified
from tests.support.stored import append


async def test_keys_that_have_signed_no_head_are_told_once(database: str) -> None:
    others = [SigningKey(Ed25519PrivateKey.generate()).public for _ in range(2)]
    async with await connect(database) as connection:
        await audit_log(connection, 10, 20, 30)
        kept = await latest_heads(connection)
    found, heard = await verified(database, others, kept)
    assert heard.places() == [("head_changed", 10, 60)]
    assert (found.pinned, found.unknown_key, found.findings, found.first) == (True, True, 1, 10)


async def test_what_was_changed_is_named_under_a_key_that_has_signed_no_head(database: str) -> None:
    other = SigningKey(Ed25519PrivateKey.generate())
    async with await connect(database) as connection:
        await audit_log(connection, 10, 20)
        await as_superuser(
            connection,
            "UPDATE events SET topic = 'x' WHERE notification_id = 7",
            "UPDATE tree_heads SET signature = '' WHERE tree_size = 30",
        )
    _, heard = await verified(database, [other.public])
    assert heard.places() == [("head_changed", 10, 30), ("event_changed", 7, 7), ("head_changed", 30, 30)]


async def test_a_pinned_key_that_has_signed_some_heads_tells_the_others(database: str) -> None:
    other = SigningKey(Ed25519PrivateKey.generate())
    async with await connect(database) as connection:
        await audit_log(connection, 10)
        for seed in (8, 9):
            await append(connection, RandomLog(seed).grow(10))
            await seal(connection, other)
    found, heard = await verified(database, [KEY.public])
    assert heard.places() == [("head_changed", 20, 20), ("head_changed", 30, 30)]
    assert all(other.public.id.hex() in finding.detail for finding in heard.findings)
    assert not found.unknown_key


async def test_who_seals_everything_anew_with_another_key_is_found_by_the_pinned_one(database: str) -> None:
    other = SigningKey(Ed25519PrivateKey.generate())
    async with await connect(database) as connection:
        await audit_log(connection, 30, 30)
        kept = await latest_heads(connection)
        await as_superuser(
            connection,
            "UPDATE events SET topic = 'x' WHERE notification_id = 35",
            "TRUNCATE sealed_blocks, tree_nodes, tree_heads",
        )
        await seal(connection, other)
    _, heard = await verified(database, [KEY.public])
    assert heard.places() == [("head_changed", 60, 60)]
    _, heard = await verified(database, [KEY.public], kept[:1])
    assert heard.places()[1:] == [("event_changed", 1, 60)]


async def test_a_new_key_goes_on_where_the_old_one_ended(database: str) -> None:
    other = SigningKey(Ed25519PrivateKey.generate())
    async with await connect(database) as connection:
        await audit_log(connection, 10)
        await append(connection, RandomLog(9).grow(10))
        await seal(connection, other)
    _, heard = await verified(database)
    assert heard.findings == []
    _, heard = await verified(database, pinned=[KEY.public, other.public])
    assert heard.findings == []
