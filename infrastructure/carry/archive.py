"""An archive of events: a header, parts of events and a manifest, each a zstd frame of JSON lines.

zstd reads frames that follow each other as one file, so `zstdcat` shows the whole. Each part ends with a line
that tells what is in it, so that what was written before a crash can be trusted, part by part.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from infrastructure.carry.errors import ArchiveDamaged
from infrastructure.zstandard import ZstdDecompressor, ZstdError, compress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK_BYTES = 1024 * 1024
# What a few bytes of zstd may unpack to has no bound of its own.
_HEADER_BYTES = 1024 * 1024
# One event may be as large as Postgres stores it, 1 GiB, in base64.
_FRAME_BYTES = 3 * 1024 * 1024 * 1024 // 2


class Selection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which events of a log: of a namespace, of a task and what became of it, from and to a position.

    None: any. `first` and `last` are within.
    """

    namespace: str | None = None
    task_id: UUID | None = None
    first: int | None = None
    last: int | None = None

    @property
    def sealed(self) -> bool:
        """Whether seals of the log are seals of what it selects: it begins as the log does."""
        return self == Selection(last=self.last)

    @property
    def whole(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Selection()

    def told(self) -> str:
        """It in words; empty, where it leaves nothing out."""
        names = {"namespace": "namespace", "task_id": "task", "first": "from event", "last": "to event"}
        given = {name: getattr(self, name) for name in names}
        return ", ".join(f"{names[name]} {value}" for name, value in given.items() if value is not None)


class Header(Struct, frozen=True, kw_only=True, tag_field="type", tag="header"):
    """What follows: the `selection` from a log that ended at the position `head`.

    `standstill` is why no scheduler began on that log, if so: none may on a copy of it.
    """

    format: Literal["chronoledger-events"] = "chronoledger-events"
    format_version: Literal[1] = 1
    selection: Selection
    head: int
    standstill: str | UnsetType = UNSET

    @property
    def until(self) -> int:
        """The last position that may follow."""
        last = self.selection.last
        return self.head if last is None else min(last, self.head)


class Part(Struct, frozen=True, kw_only=True, tag_field="type", tag="part"):
    """The events before it in its frame: how many, from where to where, and the SHA-256 of their lines.

    `cut` counts those that go on from one of their stream that was left out.
    """

    number: int
    events: int
    first: int
    last: int
    cut: int
    sha256: str


class Seals(Struct, frozen=True, kw_only=True, tag_field="type", tag="seals"):
    """What is sealed, before it in its frame: how many keys, blocks, nodes and heads, and their SHA-256."""

    rows: int
    sha256: str


class SealsSum(Struct, frozen=True, kw_only=True):
    """How many keys, blocks, nodes and heads there are, and the SHA-256 of all their lines.

    `tree_size` and `root_hash` (in hexadecimal) are those of the last head; 0 and None, where there is none.
    """

    rows: int
    tree_size: int
    root_hash: str | None
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True, tag_field="type", tag="manifest"):
    """What an archive holds in all. `sha256` is that of all lines of events, one after the other.

    `whole`: nothing was left out up to the position `head`, where the log ended.
    """

    whole: bool
    selection: Selection
    events: int
    parts: int
    first: int | None
    last: int | None
    head: int
    cut: int
    sha256: str
    seals: SealsSum | None = None


type Told = Header | Part | Seals | Manifest


class Frame(NamedTuple):
    """A frame: what its last line tells, the lines before that one, and where in the file it ends."""

    told: Told
    lines: bytes
    end: int


_closing: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Header | Part | Seals | Manifest)


def frame(told: Told, lines: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return compress(b"".join((lines, msgspec.json.encode(told), b"\n")))


def frames(path: Path, file: BinaryIO) -> Iterator[Frame]:
    """Every frame in its order, each as its own last line tells. Raises `ArchiveDamaged` where that ends."""
    begun = False
    for content, end in _decompressed(path, file):
        lines, closing = _split(content)
        try:
            told = _closing.decode(closing)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArchiveDamaged(path, _unlike(error, begun=begun)) from None
        if isinstance(told, Header) == begun:
            raise ArchiveDamaged(path, "does not begin as an archive of events does")
        if isinstance(told, Part | Seals) and told.sha256 != sha256(lines).hexdigest():
            raise ArchiveDamaged(path, "holds something else than when it was written")
        begun = True
        yield Frame(told, lines, end)


def _unlike(error: Exception, *, begun: bool) -> str:
    if begun:
        return f"holds something else than an archive does ({error})"
    return f"is no archive of events that this release can read ({error})"


def _split(content: bytes) -> tuple[bytes, bytes]:
    """The lines of events, and the one behind them."""
    start = content.rfind(b"\n", 0, -1) + 1
    return content[:start], content[start:]


def _decompressed(path: Path, file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The content of each frame, and where it ends in the file."""
    unread, most = file.read(_CHUNK_BYTES), _HEADER_BYTES
    while unread:
        decompressor, pieces, size = ZstdDecompressor(), list[bytes](), 0
        while not decompressor.eof:
            if decompressor.needs_input and not unread:
                raise ArchiveDamaged(path, "ends in the middle")
            try:
                pieces.append(decompressor.decompress(unread, _CHUNK_BYTES))
            except ZstdError as error:
                raise ArchiveDamaged(path, f"is no zstd file, or a damaged one ({error})") from None
            size += len(pieces[-1])
            if size > most:
                raise ArchiveDamaged(path, "holds more at once than an archive of events does")
            unread = file.read(_CHUNK_BYTES) if decompressor.needs_input else b""
        unread = decompressor.unused_data
        yield b"".join(pieces), file.tell() - len(unread)
        unread, most = unread or file.read(_CHUNK_BYTES), _FRAME_BYTES
