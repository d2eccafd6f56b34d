"""The seals of a log go with it: the same heads, which verify what was imported."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infrastructure.audit_log.keys import SigningKey
from infrastructure.sql import statements
from infrastructure.transfer.format import SealsDiffer, Selection
from infrastructure.transfer.replay import replay_events
from tests.support.projecting import connect
from tests.support.sealing import KEY, as_superuser, audit_log, seal, verified
from tests.support.transfers import Progress, events, export, import_, seals

statement = statements("infrastructure.audit_log")


async def _grown(dsn: str) -> None:
    async with await connect(dsn) as connection:
        await audit_log(connection, 100, 4_200, 7)


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with some 4,300 events, sealed by more than two heads."""
    asyncio.run(_grown(database))
    return database


def test_the_heads_are_the_same_and_verify_what_arrived(
    log: str, other_database: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.zst"
    manifest = export(log, path)
    import_(other_database, path)
    assert seals(other_database) == seals(log)
    assert all(seals(log).values())
    last = seals(log)["tree_heads"][-1]
    assert manifest.seals is not None
    assert (manifest.seals.tree_size, manifest.seals.root_hash) == (last[0], last[1].hex())
    result, heard = asyncio.run(verified(other_database))
    assert (result.events, heard.findings) == (len(events(log)), [])
    import_(other_database, path)
    assert seals(other_database) == seals(log)


def test_the_tree_goes_on_where_it_was(log: str, other_database: str, tmp_path: Path) -> None:
    export(log, tmp_path / "log.zst")
    import_(other_database, tmp_path / "log.zst")

    async def grown_on() -> None:
        async with await connect(other_database) as connection:
            await connection.execute(
                "INSERT INTO events (originator_id, originator_version, topic, state) "
                "VALUES (gen_random_uuid(), 1, 'odd.v1', '')"
            )
            await seal(connection)

    asyncio.run(grown_on())
    assert len(seals(other_database)["tree_heads"]) == len(seals(log)["tree_heads"]) + 1
    assert asyncio.run(verified(other_database))[1].findings == []


def test_a_prefix_has_the_heads_up_to_its_end(log: str, other_database: str, tmp_path: Path) -> None:
    heads = seals(log)["tree_heads"]
    last = heads[1][2] - 1
    export(log, tmp_path / "a.zst", Selection(last=last))
    import_(other_database, tmp_path / "a.zst", partial=True)
    assert seals(other_database)["tree_heads"] == heads[:1]
    result, heard = asyncio.run(verified(other_database))
    assert (result.position, heard.findings) == (heads[0][2], [])


def test_a_replay_has_the_heads_of_its_moment(log: str, other_database: str) -> None:
    heads = seals(log)["tree_heads"]
    for _ in range(2):
        replay_events(log, other_database, heads[-2][2], Progress())
        assert seals(other_database)["tree_heads"] == heads[:-1]
    assert asyncio.run(verified(other_database))[1].findings == []


@pytest.mark.parametrize("key", [KEY, SigningKey(Ed25519PrivateKey.generate())], ids=["same", "other"])
def test_a_key_that_has_signed_nothing_there_is_in_nobodys_way(
    log: str, other_database: str, tmp_path: Path, key: SigningKey
) -> None:
    with psycopg.connect(other_database, autocommit=True) as connection:
        put = {"key_id": key.public.id, "public_key": key.public.pem}
        connection.execute(statement("put_key"), put)
    export(log, tmp_path / "a.zst")
    for _ in range(2):
        import_(other_database, tmp_path / "a.zst")
    assert seals(other_database)["tree_heads"] == seals(log)["tree_heads"]
    assert asyncio.run(verified(other_database))[1].findings == []
    again = export(other_database, tmp_path / "again.zst")
    assert again.events == len(events(log))


def test_seals_of_its_own_are_found_before_anything_is_stored(
    log: str, other_database: str, tmp_path: Path
) -> None:
    export(log, tmp_path / "a.zst")
    row = seals(log)["tree_heads"][0]
    with psycopg.connect(other_database) as connection:
        connection.execute(
            "INSERT INTO audit_keys (key_id, public_key) VALUES (%s, %s)", (KEY.public.id, KEY.public.pem)
        )
        connection.execute(
            "INSERT INTO tree_heads VALUES (%s, %s, 1, %s, %s, %s)", (row[0], row[1], *row[3:])
        )
    with pytest.raises(SealsDiffer):
        import_(other_database, tmp_path / "a.zst")
    with pytest.raises(SealsDiffer):
        replay_events(log, other_database, 100, Progress())
    assert events(other_database) == []


def test_what_leaves_something_out_has_no_seals(log: str, other_database: str, tmp_path: Path) -> None:
    manifest = export(log, tmp_path / "a.zst", Selection(namespace="other"))
    import_(other_database, tmp_path / "a.zst", partial=True)
    assert manifest.seals is None
    assert not any(seals(other_database).values())


def test_what_was_tampered_with_is_copied_as_it_is_and_told_there_too(
    log: str, other_database: str, tmp_path: Path
) -> None:
    async def tampered() -> None:
        async with await connect(log) as connection:
            await as_superuser(connection, "UPDATE events SET state = '{}' WHERE notification_id = 77")

    asyncio.run(tampered())
    export(log, tmp_path / "a.zst")
    import_(other_database, tmp_path / "a.zst")
    assert asyncio.run(verified(other_database))[1].places() == asyncio.run(verified(log))[1].places() != []


def test_seals_that_appeared_meanwhile_are_told(log: str, other_database: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    export(log, path)

    def sealing_meanwhile(stage: str, position: int, until: int) -> None:
        if stage == "compared" and position == until:
            asyncio.run(sealed_by_itself())

    async def sealed_by_itself() -> None:
        async with await connect(other_database) as connection:
            await seal(connection)

    with pytest.raises(SealsDiffer):
        import_(other_database, path, sealing_meanwhile)
