"""Sharing work without talking: highest-random-weight ("rendezvous") hashing, Thaler and Ravishankar 1998.

Who knows the same names comes to the same order; a name that joins or leaves moves only what it gets or had.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID


def rank(name: str, others: Iterable[str], subject: UUID) -> int:
    """How many of the others come before this name for a subject: 0 makes it the owner."""
    own = _weight(name, subject)
    return sum(_weight(other, subject) > own for other in others)


def _weight(name: str, subject: UUID) -> tuple[bytes, str]:
    # The subject's sixteen bytes come last, so that no two pairs are the same text.
    return blake2b(name.encode() + subject.bytes, digest_size=8).digest(), name
