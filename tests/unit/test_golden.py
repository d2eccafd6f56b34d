"""Stored bytes of every version of every fact that ever landed: they are read for ever.

`golden/<topic>.json` is what this release writes. `golden/<topic>.<what>.json` is another shape of the same
version, which must stay readable: when a field is added, the present file keeps its bytes under such a name.
Bytes in these files never change; a file is one line, and its line break is not stored.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from domain.redaction import erased, original_digest
from infrastructure.event_store.mapper import FACT_TYPES, decode, encode, encode_redacted
from tests.support.golden_facts import METAS, REDACTED, STORED
from tests.support.golden_values import META

GOLDEN = Path(__file__).parents[1] / "golden"

TOPICS = [fact_type.topic for fact_type in FACT_TYPES]


def stored_bytes(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


def topic_of(name: str) -> str:
    return next(topic for topic in TOPICS if name == topic or name.startswith(f"{topic}."))


def test_every_file_is_expected_and_every_expected_file_is_there() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(f"{name}.json" for name in STORED)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_its_file(topic: str) -> None:
    assert topic in STORED


@pytest.mark.parametrize("name", STORED)
def test_stored_bytes_are_read_as_the_fact_that_they_were(name: str) -> None:
    envelope = decode(topic_of(name), stored_bytes(name))
    assert (envelope.meta, envelope.fact) == (METAS.get(name, META), STORED[name])
    assert (original_digest(stored_bytes(name)) is not None) == (name in REDACTED)


@pytest.mark.parametrize("topic", TOPICS)
def test_this_release_writes_the_bytes_of_its_file(topic: str) -> None:
    assert encode(STORED[topic], META) == stored_bytes(topic)


@pytest.mark.parametrize(("name", "was"), REDACTED.items())
def test_this_release_redacts_what_was_stored_as_its_file_has_it(name: str, was: str) -> None:
    original = sha256(stored_bytes(was)).digest()
    assert encode_redacted(erased(STORED[was]), META, original) == stored_bytes(name)


@pytest.mark.parametrize("name", METAS)
def test_this_release_writes_the_meta_of_its_file(name: str) -> None:
    assert encode(STORED[name], METAS[name]) == stored_bytes(name)


@pytest.mark.parametrize("name", STORED)
def test_a_file_is_one_line(name: str) -> None:
    text = (GOLDEN / f"{name}.json").read_bytes()
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
