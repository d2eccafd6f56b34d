"""Bytes of a stranger as text: which charsets are believed, and what a cut leaves of a character."""

from __future__ import annotations

import codecs
import encodings
import pkgutil
import re
from encodings.aliases import aliases
from functools import lru_cache

# Codecs that are no charsets (compressors among them), that make lone surrogates, or that are slow.
NOT_CHARSETS = frozenset(
    {"aliases", "charmap", "idna", "mbcs", "oem", "punycode", "rot_13", "undefined"}
    | {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "uu_codec", "zlib_codec"}
    | {"raw_unicode_escape", "unicode_escape", "utf_7"}
)
CHARSETS = {module.name for module in pkgutil.iter_modules(encodings.__path__)} - NOT_CHARSETS
UTF_8 = "utf_8"
# What comes later in a Content-Type is not looked at: what is remembered of them must be small.
LONGEST_TYPE = 512
CHARSET_PARAMETER = re.compile(r""";\s*charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)


def named_charset(content_type: str | None) -> str | None:
    """The charset that a Content-Type names, as it is written there."""
    named = CHARSET_PARAMETER.search(content_type or "")
    return None if named is None else named[1]


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """Python's codec for a charset; None when it has none.

    Looked up in a fixed set: `codecs.lookup` remembers every name that it is asked for, known or not.
    """
    name = encodings.normalize_encoding(charset).lower()
    name = aliases.get(name, name)
    return name if name in CHARSETS else None


@lru_cache(maxsize=256)
def _codec(content_type: str | None) -> str:
    return codec_of(named_charset(content_type) or UTF_8) or UTF_8


def decoded(body: bytes, content_type: str | None, *, cut: bool) -> str:
    """A body as text that any store takes: what is no character becomes U+FFFD, and so does NUL.

    In the charset that its Content-Type names, where Python has it; else in UTF-8.
    `cut`: the body was cut, so an unfinished character at its end is left out, not replaced.
    """
    codec = _codec(content_type if content_type is None else content_type[:LONGEST_TYPE])
    if codec == UTF_8 and not cut:
        return storable(body.decode(errors="replace"))
    try:
        text = codecs.getincrementaldecoder(codec)(errors="replace").decode(body, final=not cut)
    except UnicodeError:  # utf-16 and utf-32 insist on a byte order mark
        text = codecs.getincrementaldecoder(UTF_8)(errors="replace").decode(body, final=not cut)
    return storable(text)


def storable(text: str) -> str:
    """Postgres takes no NUL."""
    return text.replace("\0", "\ufffd")
