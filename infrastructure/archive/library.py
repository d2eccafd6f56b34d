"""The archives of a place, opened as they are asked for."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from application.archived import ArchiveAway
from infrastructure.archive.form import Damaged
from infrastructure.archive.places import Nowhere
from infrastructure.archive.reading import ArchiveFile, Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.places import Place
    from infrastructure.archive.reading import Source


class Library:
    """Looks into archives on a thread of its own, so that others are served meanwhile.

    What cannot be read, or is not what was written, is `ArchiveAway`: it is never taken for less.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opened: dict[str, ArchiveFile] = {}
        self._kept = Kept()

    async def look[T](self, archive: Archive, question: Callable[[ArchiveFile], T]) -> T:
        """What an archive answers to a question. Raises `ArchiveAway`."""
        return await asyncio.to_thread(partial(self.ask, archive, question))

    def ask[T](self, archive: Archive, question: Callable[[ArchiveFile], T]) -> T:
        """As `look` does, but blocks."""
        try:
            return question(self._file(archive))
        except ArchiveAway:
            self._opened.pop(archive.name, None)
            raise
        except Damaged as error:
            self._opened.pop(archive.name, None)
            raise error.away() from error

    def _file(self, archive: Archive) -> ArchiveFile:
        if archive.name not in self._opened:
            source = self._place.open(archive.name)
            if source.size != archive.size:
                raise Damaged(
                    archive.name, f"it has {source.size:,} bytes, and {archive.size:,} were written"
                )
            self._opened[archive.name] = _opened(archive, source, self._kept)
        return self._opened[archive.name]


def _opened(archive: Archive, source: Source, kept: Kept) -> ArchiveFile:
    """The file, if it is the one of the catalogue: its manifest, which was hashed, hashes all the rest."""
    file = ArchiveFile(archive.name, source, archive.manifest_sha256, kept)
    said = file.manifest
    told = (said.month, said.events, said.executions, said.first_position, said.last_position)
    known = (archive.events, archive.executions, archive.first_position, archive.last_position)
    if told != (str(archive.month), *known):
        raise Damaged(
            archive.name,
            f"it says that it has {said.events:,} events of {said.executions:,} executions of {said.month}, "
            f"from {said.first_position} to {said.last_position}, and the catalogue says another thing",
        )
    return file


NO_ARCHIVES = Library(Nowhere())
"""For who knows of none: what lies in one is away."""
