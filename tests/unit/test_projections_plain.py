"""Copies of user data for text and jsonb columns."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.rows import plain_bytes, plain_text

CHARACTERS = st.text(st.sampled_from("\0\\u0\"'ab\n✓"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | CHARACTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CHARACTERS, inner, max_size=3),
    max_leaves=8,
)


def without_nul(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list():
            return [without_nul(item) for item in value]
        case dict():
            return {without_nul(key): without_nul(item) for key, item in value.items()}
        case _:
            return value


@given(VALUES)
def test_json_keeps_everything_but_the_character_that_jsonb_refuses(value: Any) -> None:
    assert json.loads(plain_bytes(value)) == without_nul(value)


@pytest.mark.parametrize("depth", [1, 9_000])
def test_json_does_not_care_how_deep_a_payload_is(depth: int) -> None:
    text = b"[" * depth + b'"\\u0000"' + b"]" * depth
    assert plain_bytes(msgspec.json.decode(text)).decode() == "[" * depth + '"\ufffd"' + "]" * depth


def test_text_keeps_its_length() -> None:
    assert plain_text("a\0b\0") == "a\ufffdb\ufffd"
