"""What an archive adds up to, part by part."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from infrastructure.carry.archive import Header, Manifest, Part, Seals, SealsSum
from infrastructure.carry.errors import ArchiveDamaged
from infrastructure.carry.seals import Head, read_seals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infrastructure.carry.archive import Frame
    from infrastructure.carry.seals import Seal


class Books:
    """Kept by whoever writes an archive, and by whoever reads it: both must come to the same manifest."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.events = 0
        self.parts = 0
        self.cut = 0
        self.first: int | None = None
        self.last: int | None = None
        self.seals = 0
        self.top: Head | None = None
        self._hash = sha256()
        self._seals_hash = sha256()

    def add(self, lines: bytes, events: int, first: int, last: int, cut: int) -> Part:
        """Enter the next part."""
        self.events += events
        self.parts += 1
        self.cut += cut
        self.first = first if self.first is None else self.first
        self.last = last
        self._hash.update(lines)
        digest = sha256(lines).hexdigest()
        return Part(number=self.parts, events=events, first=first, last=last, cut=cut, sha256=digest)

    def add_seals(self, lines: bytes, seals: Sequence[Seal]) -> Seals:
        """Enter what is sealed; heads come in the order of their trees."""
        self.seals += len(seals)
        self._seals_hash.update(lines)
        for seal in seals:
            self.top = seal if isinstance(seal, Head) else self.top
        return Seals(rows=len(seals), sha256=sha256(lines).hexdigest())

    def manifest(self) -> Manifest:
        """What all parts come to."""
        return Manifest(
            whole=self.header.selection.whole,
            selection=self.header.selection,
            events=self.events,
            parts=self.parts,
            first=self.first,
            last=self.last,
            head=self.header.head,
            cut=self.cut,
            sha256=self._hash.hexdigest(),
            seals=self._sum_of_seals() if self.seals else None,
        )

    def _sum_of_seals(self) -> SealsSum:
        return SealsSum(
            rows=self.seals,
            tree_size=self.top.tree_size if self.top else 0,
            root_hash=self.top.root_hash.hex() if self.top else None,
            sha256=self._seals_hash.hexdigest(),
        )


def entered(path: Path, books: Books, read: Frame) -> Part:
    """Enter a part that was read: it must be the next one. Raises `ArchiveDamaged`."""
    part = read.told
    assert isinstance(part, Part), "a header begins an archive, and a manifest ends it"
    follows = part.number == books.parts + 1 and (books.last or 0) < part.first <= part.last
    if not follows or read.lines.count(b"\n") != part.events:
        raise ArchiveDamaged(path, f"is not in order at its part {part.number}")
    return books.add(read.lines, part.events, part.first, part.last, part.cut)


def seals_in(path: Path, read: Frame) -> Sequence[Seal]:
    """What a frame of seals holds. Raises `ArchiveDamaged`."""
    try:
        return read_seals(read.lines)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveDamaged(path, f"holds something else than seals ({error})") from None
