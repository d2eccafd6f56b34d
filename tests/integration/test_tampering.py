"""Whatever a superuser changes about a sealed log is found, with the position at which it was changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from infrastructure.audit_log.store import latest_heads
from tests.support.databases import Databases
from tests.support.projecting import connect
from tests.support.random_log import RandomLog
from tests.support.sealing import KEY, as_superuser, audit_log, seal, verified
from tests.support.stored import append

# Blocks end at leaf 3,000, 4,096 and 6,000; without gaps a leaf's position is its number from 1.
SIZES = (3_000, 3_000)
COLUMNS = "originator_id, originator_version, topic, state, recorded_at"


@pytest.fixture(scope="module")
def sealed_template(databases: Databases, template_database: str) -> Iterator[str]:
    """A sealed log to copy: that takes a tenth of the time of sealing one."""

    async def fill(dsn: str) -> None:
        async with await connect(dsn) as connection:
            await audit_log(connection, *SIZES)

    with databases.copy(template_database) as dsn:
        asyncio.run(fill(dsn))
        yield dsn


@pytest.fixture
def sealed(databases: Databases, sealed_template: str) -> Iterator[str]:
    """The DSN of a database with a sealed log of the test's own."""
    with databases.copy(sealed_template) as dsn:
        yield dsn


async def tampered(sealed: str, *statements: str) -> list[tuple[str, int, int]]:
    async with await connect(sealed) as connection:
        await as_superuser(connection, *statements)
    found, heard = await verified(sealed)
    assert found.findings == len(heard.findings)
    assert found.first == min((position for _, position, _ in heard.places()), default=None)
    return heard.places()


@pytest.mark.parametrize("position", [1, 2_999, 3_000, 3_001, 4_096, 4_097, 6_000])
async def test_a_changed_byte_is_named(sealed: str, position: int) -> None:
    change = "state = set_byte(state, 0, get_byte(state, 0) # 1)"
    found = await tampered(sealed, f"UPDATE events SET {change} WHERE notification_id = {position}")
    assert found == [("event_changed", position, position)]


@pytest.mark.parametrize(
    "change",
    [
        "state = state || ' '",
        "topic = topic || 'x'",
        "recorded_at = recorded_at + interval '1 microsecond'",
        "recorded_at = 'infinity'",
        "originator_version = originator_version + 1000000",
        "originator_id = '00000000-0000-0000-0000-000000000001'",
    ],
)
async def test_whatever_is_changed_about_an_event_it_is_named(sealed: str, change: str) -> None:
    found = await tampered(sealed, f"UPDATE events SET {change} WHERE notification_id = 3456")
    assert found == [("event_changed", 3_456, 3_456)]


@pytest.mark.parametrize("position", [1, 3_000, 3_001, 6_000])
async def test_a_removed_event_is_named(sealed: str, position: int) -> None:
    found = await tampered(sealed, f"DELETE FROM events WHERE notification_id = {position}")
    assert found == [("event_removed", position, position)]


async def test_two_events_that_changed_places_are_named(sealed: str) -> None:
    swap = [
        "UPDATE events SET notification_id = -1 WHERE notification_id = 2500",
        "UPDATE events SET notification_id = 2500 WHERE notification_id = 4500",
        "UPDATE events SET notification_id = 4500 WHERE notification_id = -1",
    ]
    assert await tampered(sealed, *swap) == [
        ("event_changed", 2_500, 2_500),
        ("event_changed", 4_500, 4_500),
    ]


@pytest.mark.parametrize("position", [-5, 0, 1_000])
async def test_an_event_that_was_put_in_between_is_named(database: str, position: int) -> None:
    async with await connect(database) as connection:
        await audit_log(connection, 600)
        # A gap, as appends that were rolled back leave one.
        await connection.execute("SELECT setval(pg_get_serial_sequence('events', 'notification_id'), 2000)")
        await audit_log(connection, 600, seed=2)
        await as_superuser(
            connection,
            f"INSERT INTO events ({COLUMNS}, notification_id) SELECT gen_random_uuid(), 1, topic, state, "
            f"recorded_at, {position} FROM events WHERE notification_id = 100",
        )
    _, heard = await verified(database)
    assert heard.places() == [("event_inserted", position, position)]


async def test_an_event_that_is_there_twice_is_named(sealed: str) -> None:
    found = await tampered(
        sealed,
        "DROP INDEX events_notification_id",
        f"INSERT INTO events ({COLUMNS}, notification_id) SELECT gen_random_uuid(), 1, topic, state, "
        "recorded_at, notification_id FROM events WHERE notification_id = 3500",
    )
    assert ("event_inserted", 3_500, 3_500) in found


async def test_a_tail_that_was_cut_off_is_named_from_its_first_event(sealed: str) -> None:
    found = await tampered(sealed, "DELETE FROM events WHERE notification_id > 5990")
    assert found == [("event_removed", position, position) for position in range(5_991, 6_001)]


async def test_a_tail_that_was_cut_off_with_its_seal_is_told_by_the_heads(sealed: str) -> None:
    found = await tampered(
        sealed,
        "DELETE FROM events WHERE notification_id > 4096",
        "DELETE FROM sealed_blocks WHERE first_leaf >= 4096",
    )
    assert found == [("block_changed", 4_097, 6_000)]


async def test_a_changed_seal_is_told_from_a_changed_event(sealed: str) -> None:
    found = await tampered(
        sealed,
        "UPDATE sealed_blocks SET leaf_hashes = set_byte(leaf_hashes, 3168, get_byte(leaf_hashes, 3168) # 1) "
        "WHERE first_leaf = 3000",
    )
    assert found == [("block_changed", 3_100, 3_100)]


async def test_an_event_that_was_changed_with_its_seal_is_told_by_the_head(sealed: str) -> None:
    async with await connect(sealed) as connection:
        await as_superuser(
            connection,
            "UPDATE events SET topic = 'x' WHERE notification_id = 3100",
            "UPDATE sealed_blocks SET leaf_hashes = overlay(leaf_hashes PLACING ("
            "SELECT sha256('\\x00'::bytea || int8send(notification_id) || uuid_send(originator_id) "
            "|| int8send(originator_version) "
            "|| int8send((extract(epoch FROM recorded_at) * 1000000)::bigint) "
            "|| int2send(1::int2) || 'x'::bytea || sha256(state)) FROM events WHERE notification_id = 3100"
            ") FROM 32 * 99 + 1) WHERE first_leaf = 3000",
        )
    _, heard = await verified(sealed)
    assert heard.places() == [("block_changed", 3_001, 4_096)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE sealed_blocks SET frontier = '' WHERE first_leaf = 3000", [("block_changed", 3_001, 4_096)]),
        (
            "UPDATE sealed_blocks SET positions = '\\x00' WHERE first_leaf = 3000",
            [("block_changed", 3_001, 4_096)],
        ),
        ("DELETE FROM sealed_blocks WHERE first_leaf = 3000", [("block_changed", 3_001, 4_096)]),
        ("UPDATE tree_heads SET signature = '' WHERE tree_size = 4096", [("head_changed", 4_096, 4_096)]),
        (
            "UPDATE tree_heads SET root_hash = sha256('') WHERE tree_size = 4096",
            [("head_changed", 4_096, 4_096)],
        ),
        ("UPDATE tree_heads SET last_position = 7 WHERE tree_size = 4096", [("head_changed", 4_096, 4_096)]),
        (
            "UPDATE tree_heads SET key_id = sha256('') WHERE tree_size = 4096",
            [("head_changed", 4_096, 4_096)],
        ),
        ("DELETE FROM tree_heads WHERE tree_size = 4096", [("head_changed", 4_096, 4_096)]),
        ("UPDATE tree_nodes SET hash = sha256('')", [("node_changed", 1, 4_096)]),
        ("DELETE FROM tree_nodes", [("node_changed", 1, 4_096)]),
        *(
            (f"INSERT INTO tree_nodes VALUES ({node}, sha256(''))", [("node_changed", 6_001, 6_001)])
            for node in ("11, 0", "12, 1", "13, 0", "62, 0", "12, 9223372036854775806", "12, -1")
        ),
    ],
)
async def test_whatever_is_changed_about_the_seals_is_told_once(
    sealed: str, statement: str, expected: list[tuple[str, int, int]]
) -> None:
    without_checks = "ALTER TABLE sealed_blocks DROP CONSTRAINT sealed_blocks_check"
    found = await tampered(sealed, without_checks, statement)
    assert found[: len(expected)] == expected
    assert all(position <= 4_097 for _, position, _ in found[len(expected) :])


def stated_at(leaf: int, position: int) -> str:
    """Let the first block say that one of its leaves, numbered from 0, is at a position."""
    place = f"overlay(positions PLACING int8send({position}::bigint) FROM 8 * {leaf} + 1)"
    return f"UPDATE sealed_blocks SET positions = {place} WHERE first_leaf = 0"


async def test_an_event_is_not_hidden_by_the_position_of_its_neighbour(sealed: str) -> None:
    found = await tampered(sealed, "DELETE FROM events WHERE notification_id = 100", stated_at(99, 101))
    assert found == [("event_removed", 100, 100), ("block_changed", 100, 100)]


async def test_many_events_are_not_hidden_by_the_position_of_another(sealed: str) -> None:
    found = await tampered(
        sealed,
        "DELETE FROM events WHERE notification_id BETWEEN 10 AND 250",
        "UPDATE sealed_blocks SET positions = (SELECT string_agg(int8send("
        "CASE WHEN position BETWEEN 10 AND 250 THEN 251 ELSE position END), '' ORDER BY position) "
        "FROM generate_series(1::bigint, 3000) AS position) WHERE first_leaf = 0",
    )
    removed = [("event_removed", position, position) for position in range(10, 251)]
    assert found == [*removed, ("block_changed", 10, 250)]


async def test_a_hidden_event_is_told_beside_heads_that_were_kept_elsewhere(sealed: str) -> None:
    async with await connect(sealed) as connection:
        kept = await latest_heads(connection)
        delete = "DELETE FROM events WHERE notification_id = 100"
        await as_superuser(connection, delete, stated_at(99, 101))
    _, heard = await verified(sealed, [KEY.public], kept)
    assert heard.places() == [("event_removed", 100, 100), ("block_changed", 100, 100)]


@pytest.mark.parametrize(("leaf", "position"), [(0, 0), (1_500, 1_500), (1_500, 1_502), (2_999, 2**62)])
async def test_a_position_that_was_moved_is_told_of_the_seal_alone(
    sealed: str, leaf: int, position: int
) -> None:
    found = await tampered(sealed, stated_at(leaf, position))
    assert found == [("block_changed", leaf + 1, leaf + 1)]


@pytest.mark.parametrize("position", [2, 3_500, 2**62])
async def test_a_block_without_its_head_takes_no_event_from_others(sealed: str, position: int) -> None:
    gone = "DELETE FROM tree_heads WHERE tree_size = 3000"
    found = await tampered(sealed, gone, stated_at(2_999, position))
    assert found == [("head_changed", 3_000, 3_000), ("block_changed", 3_000, 3_000)]


@pytest.mark.parametrize("change", ["last_position = 3500", "first_position = 7"])
async def test_a_block_with_other_bounds_is_told(sealed: str, change: str) -> None:
    found = await tampered(sealed, f"UPDATE sealed_blocks SET {change} WHERE first_leaf = 0")
    assert found == [("block_changed", 1, 3_000)]


async def test_what_a_block_says_of_its_end_has_no_event_skipped(database: str) -> None:
    facts = RandomLog(1).grow(500)
    async with await connect(database) as connection:
        await append(connection, facts[:300])
        await seal(connection)
        await as_superuser(connection, "UPDATE sealed_blocks SET last_position = 350")
        await append(connection, facts[300:500])
        assert await seal(connection) == 500
    found, heard = await verified(database)
    assert (found.events, heard.places()) == (500, [("block_changed", 1, 300)])


async def test_all_heads_under_a_key_that_is_gone_are_told(sealed: str) -> None:
    found = await tampered(sealed, "UPDATE audit_keys SET public_key = 'none'")
    assert found == [("head_changed", end, end) for end in (3_000, 4_096, 6_000)]


async def test_who_seals_everything_anew_is_found_by_heads_that_were_kept_elsewhere(sealed: str) -> None:
    async with await connect(sealed) as connection:
        kept = await latest_heads(connection)
        await as_superuser(
            connection,
            "UPDATE events SET topic = 'x' WHERE notification_id = 3500",
            "TRUNCATE sealed_blocks, tree_nodes, tree_heads",
        )
        await seal(connection)
    _, heard = await verified(sealed)
    assert heard.findings == []
    _, heard = await verified(sealed, witnessed=kept)
    assert heard.places() == [("event_changed", 3_001, 4_096), ("event_changed", 3_001, 6_000)]


async def test_who_cuts_everything_off_is_found_by_heads_that_were_kept_elsewhere(sealed: str) -> None:
    async with await connect(sealed) as connection:
        kept = await latest_heads(connection)
        await as_superuser(
            connection,
            "DELETE FROM events WHERE notification_id > 3000",
            "DELETE FROM sealed_blocks WHERE first_leaf >= 3000",
            "DELETE FROM tree_nodes",
            "DELETE FROM tree_heads WHERE tree_size > 3000",
        )
    _, heard = await verified(sealed)
    assert heard.findings == []
    _, heard = await verified(sealed, witnessed=kept)
    assert heard.places() == [("event_removed", 3_001, 4_096), ("event_removed", 3_001, 6_000)]
