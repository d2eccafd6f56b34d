"""Copies of user data for text and jsonb columns: neither takes U+0000, so U+FFFD stands for it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_NUL_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # an even number of backslashes before it


def plain_text(text: str) -> str:
    """The text, with U+FFFD for every U+0000."""
    return text.replace("\0", "\ufffd")


def plain_bytes(value: Any) -> bytes:
    r"""Compact JSON of a value, with U+FFFD for every `\u0000`; the same value gives the same bytes."""
    encoded = _encode(value)
    # On the text, not on the value: the nesting of a payload has no bound that recursion could rely on.
    if b"\\u0000" in encoded:
        return _NUL_ESCAPE.sub("\\1\ufffd", encoded.decode()).encode()
    return encoded
