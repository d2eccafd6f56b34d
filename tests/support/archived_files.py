"""Archive files in memory."""

from __future__ import annotations

from collections.abc import Mapping

from infrastructure.archive.storage import NoStorage


class Bytes:
    """A file in memory that counts what is read of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.read_bytes = 0

    def read(self, offset: int, length: int, /) -> bytes:
        """See `infrastructure.archive.files.Source`."""
        self.read_bytes += length
        return self.content[offset : offset + length]


class MemoryStorage(NoStorage):
    """Files by name; nothing more is kept. It tells which were opened, in their order."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.opened: list[str] = []

    def open(self, name: str) -> Bytes:
        """See `Storage`."""
        self.opened.append(name)
        return Bytes(self.files[name])
