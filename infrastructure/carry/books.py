"""What an archive adds up to, part by part."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from infrastructure.carry.archive import Header, Manifest, Part
from infrastructure.carry.errors import ArchiveDamaged

if TYPE_CHECKING:
    from pathlib import Path

    from infrastructure.carry.archive import Frame


class Books:
    """Kept by whoever writes an archive, and by whoever reads it: both must come to the same manifest."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.events = 0
        self.parts = 0
        self.cut = 0
        self.first: int | None = None
        self.last: int | None = None
        self._hash = sha256()

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
        )


def entered(path: Path, books: Books, read: Frame) -> Part:
    """Enter a part that was read: it must be the next one. Raises `ArchiveDamaged`."""
    part = read.told
    assert isinstance(part, Part), "a header begins an archive, and a manifest ends it"
    follows = part.number == books.parts + 1 and (books.last or 0) < part.first <= part.last
    if not follows or read.lines.count(b"\n") != part.events:
        raise ArchiveDamaged(path, f"is not in order at its part {part.number}")
    return books.add(read.lines, part.events, part.first, part.last, part.cut)
