"""What is sealed: every column of an event, byte by byte as documented."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.audit import SealedEvent, TreeHead, entry, microseconds, state_digest

EVENT = SealedEvent(
    position=7,
    stream=UUID(int=0xABC),
    version=2,
    recorded_at=datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC),
    topic="tâche.v1",
    state_digest=state_digest(b'{"a":1}'),
)
HEAD = TreeHead(
    tree_size=3, root_hash=b"\x0f" * 32, last_position=7, sealed_at=datetime(1970, 1, 1, tzinfo=UTC)
)


def test_an_entry_is_its_columns_in_order() -> None:
    expected = (
        bytes.fromhex("000000000000000700000000000000000000000000000abc0000000000000002")
        + (1_000_005).to_bytes(8, "big")
        + b"\x00\x09"
        + "tâche.v1".encode()
        + sha256(b'{"a":1}').digest()
    )
    recorded_us = microseconds(EVENT.recorded_at)
    assert expected == entry(7, EVENT.stream.bytes, 2, recorded_us, EVENT.topic.encode(), EVENT.state_digest)
    assert EVENT.leaf() == sha256(b"\x00" + expected).digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"position": 8},
        {"stream": UUID(int=0xABD)},
        {"version": 3},
        {"recorded_at": EVENT.recorded_at + timedelta(microseconds=1)},
        {"topic": "tâche.v2"},
        {"state_digest": state_digest(b'{"a":2}')},
    ],
)
def test_whatever_changes_about_an_event_changes_its_leaf(changed: dict[str, object]) -> None:
    assert replace(EVENT, **changed).leaf() != EVENT.leaf()


def test_an_instant_before_1970_is_negative() -> None:
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1


def test_what_is_signed_of_a_head_is_all_that_it_states() -> None:
    assert HEAD.signed_bytes() == (
        b"chronoledger tree head v1\n"
        + (3).to_bytes(8, "big")
        + b"\x0f" * 32
        + (7).to_bytes(8, "big")
        + (0).to_bytes(8, "big")
    )
