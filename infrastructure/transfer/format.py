"""An archive of events: a header, parts of events and a manifest, each a zstd frame of JSON lines.

zstd reads frames that follow each other as one file, so `zstdcat` shows the whole. Each part ends with a line
that tells what is in it, so that what was written before a crash can be trusted, part by part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import batched
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from msgspec.structs import asdict, replace
from psycopg import Connection

from infrastructure.archive.files import zstd
from infrastructure.event_store.log import Row
from infrastructure.sql import statements
from infrastructure.transfer.errors import ArchiveDamaged, TransferRefused

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

    def described(self) -> str:
        """It in words; empty, where it leaves nothing out."""
        names = {"namespace": "namespace", "task_id": "task", "first": "from event", "last": "to event"}
        given = {name: getattr(self, name) for name in names}
        return ", ".join(f"{names[name]} {value}" for name, value in given.items() if value is not None)


class Header(Struct, frozen=True, kw_only=True, tag_field="type", tag="header"):
    """What follows: the `selection` from a log that ended at the position `head`.

    `fence` is why no scheduler began on that log, if so: none may on a copy of it.
    """

    format: Literal["chronoledger-events"] = "chronoledger-events"
    format_version: Literal[1] = 1
    selection: Selection
    head: int
    fence: str | UnsetType = field(default=UNSET, name="standstill")

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


type Record = Header | Part | Seals | Manifest


class Frame(NamedTuple):
    """A frame: what its last line says, the lines before that one, and where in the file it ends."""

    record: Record
    lines: bytes
    end: int


_closing: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Header | Part | Seals | Manifest)


def frame(record: Record, lines: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return zstd.compress(b"".join((lines, msgspec.json.encode(record), b"\n")))


def frames(path: Path, file: BinaryIO) -> Iterator[Frame]:
    """Every frame in its order, each as its own last line tells. Raises `ArchiveDamaged` where that ends."""
    begun = False
    for content, end in _decompressed(path, file):
        lines, closing = _split(content)
        try:
            record = _closing.decode(closing)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArchiveDamaged(path, _unlike(error, begun=begun)) from None
        if isinstance(record, Header) == begun:
            raise ArchiveDamaged(path, "does not begin as an archive of events does")
        if isinstance(record, Part | Seals) and record.sha256 != sha256(lines).hexdigest():
            raise ArchiveDamaged(path, "holds something else than when it was written")
        begun = True
        yield Frame(record, lines, end)


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
        decompressor, pieces, size = zstd.ZstdDecompressor(), list[bytes](), 0
        while not decompressor.eof:
            if decompressor.needs_input and not unread:
                raise ArchiveDamaged(path, "ends in the middle")
            try:
                pieces.append(decompressor.decompress(unread, _CHUNK_BYTES))
            except zstd.ZstdError as error:
                raise ArchiveDamaged(path, f"is no zstd file, or a damaged one ({error})") from None
            size += len(pieces[-1])
            if size > most:
                raise ArchiveDamaged(path, "holds more at once than an archive of events does")
            unread = file.read(_CHUNK_BYTES) if decompressor.needs_input else b""
        unread = decompressor.unused_data
        yield b"".join(pieces), file.tell() - len(unread)
        unread, most = unread or file.read(_CHUNK_BYTES), _FRAME_BYTES


statement = statements("infrastructure.transfer")

# A block has 160 KiB at most.
_AT_ONCE = 50
_UNDATED = datetime.min.replace(tzinfo=UTC)


class Key(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="key"):
    """A public key that heads were signed by."""

    reads: ClassVar[str] = "read_keys"
    stores: ClassVar[str] = "store_key"

    key_id: bytes
    public_key: str
    added_at: datetime


class Block(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="block"):
    """A run of leaves as they were sealed."""

    reads: ClassVar[str] = "read_blocks"
    stores: ClassVar[str] = "store_block"

    first_leaf: int
    leaves: int
    first_position: int
    last_position: int
    positions: bytes
    leaf_hashes: bytes
    frontier: bytes


class Node(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="node"):
    """A perfect subtree."""

    reads: ClassVar[str] = "read_nodes"
    stores: ClassVar[str] = "store_node"

    level: int
    index: int
    hash: bytes


class Head(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="head"):
    """A signed head."""

    reads: ClassVar[str] = "read_heads"
    stores: ClassVar[str] = "store_head"

    tree_size: int
    root_hash: bytes
    last_position: int
    sealed_at: datetime
    key_id: bytes
    signature: bytes


type Seal = Key | Block | Node | Head

_KINDS: tuple[type[Seal], ...] = (Key, Block, Node, Head)
_encoder = msgspec.json.Encoder()
_seal_decoder: msgspec.json.Decoder[Seal] = msgspec.json.Decoder(Key | Block | Node | Head)


class SealsDiffer(TransferRefused):
    """The database has seals of its own; choose another, empty one."""

    def __init__(self) -> None:
        super().__init__(
            "the database has sealed its log by itself, or its seals are not those that were stored: choose "
            "another, empty one"
        )


def written_seals(seals: Iterable[Seal]) -> bytes:
    """A line for each, each ended."""
    return _encoder.encode_lines(seals)


def read_seals(lines: bytes) -> Sequence[Seal]:
    """What such lines tell. Raises `msgspec.MsgspecError`."""
    return _seal_decoder.decode_lines(lines)


def sealed(connection: Connection, until: int) -> Iterator[Sequence[Seal]]:
    """All that is sealed up to a position, some at a time; needs a transaction, best one of a snapshot."""
    for kind in _KINDS:
        with connection.cursor(name=kind.reads) as cursor:
            cursor.execute(statement(kind.reads), {"until": until}, binary=True)
            for rows in batched(cursor, _AT_ONCE):
                yield [kind(*row) for row in rows]


def check_unsealed(connection: Connection, until: int) -> None:
    """Raises `SealsDiffer` where something is sealed up to a position; a key that signed nothing is not."""
    with connection.transaction():
        if next(sealed(connection, until), None) is not None:
            raise SealsDiffer


def store_sealed(connection: Connection, seals: Iterable[Sequence[Seal]], until: int, expected: str) -> None:
    """Store all that was sealed up to a position, or nothing, unless it is there; `expected` is its digest.

    Raises `SealsDiffer`.
    """
    with connection.transaction(), connection.cursor() as cursor:
        if seals_digest(sealed(connection, until)) == expected:
            return
        check_unsealed(connection, until)
        for some in seals:
            for kind in _KINDS:
                rows = [asdict(seal) for seal in some if isinstance(seal, kind)]
                cursor.executemany(statement(kind.stores), rows)
        if seals_digest(sealed(connection, until)) != expected:
            raise SealsDiffer


def seals_digest(seals: Iterable[Sequence[Seal]]) -> str:
    """The SHA-256 of the lines of seals, but for when a database first heard of a key."""
    digest = sha256()
    for some in seals:
        digest.update(written_seals(_undated(seal) for seal in some))
    return digest.hexdigest()


def _undated(seal: Seal) -> Seal:
    return replace(seal, added_at=_UNDATED) if isinstance(seal, Key) else seal


class Totals:
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


def entered(path: Path, totals: Totals, read: Frame) -> Part:
    """Enter a part that was read: it must be the next one. Raises `ArchiveDamaged`."""
    part = read.record
    assert isinstance(part, Part), "a header begins an archive, and a manifest ends it"
    follows = part.number == totals.parts + 1 and (totals.last or 0) < part.first <= part.last
    if not follows or read.lines.count(b"\n") != part.events:
        raise ArchiveDamaged(path, f"is not in order at its part {part.number}")
    return totals.add(read.lines, part.events, part.first, part.last, part.cut)


def seals_in(path: Path, read: Frame) -> Sequence[Seal]:
    """What a frame of seals holds. Raises `ArchiveDamaged`."""
    try:
        return read_seals(read.lines)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveDamaged(path, f"holds something else than seals ({error})") from None


class Line(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An event of the log. `state` is the stored JSON itself; `state_base64` what is not JSON on one line."""

    position: int
    stream: UUID
    version: int
    topic: str
    recorded_at: Annotated[datetime, Meta(tz=True)]
    state: Raw | UnsetType = UNSET
    state_base64: bytes | UnsetType = UNSET


_line_decoder = msgspec.json.Decoder(Line)


def written(rows: Iterable[Row]) -> bytes:
    """A line for each event, each ended; the same events always make the same bytes.

    Instants have to be in UTC.
    """
    return _encoder.encode_lines(map(_line, rows))


def read(lines: bytes) -> Sequence[Row]:
    """The events of such lines. Raises `msgspec.MsgspecError` and `UnicodeDecodeError`."""
    return [
        (line.position, line.stream, line.version, line.topic, _state(line), line.recorded_at)
        for line in _line_decoder.decode_lines(lines)
    ]


def _line(row: Row) -> Line:
    position, stream, version, topic, state, recorded_at = row
    if _is_line(state):
        return Line(position, stream, version, topic, recorded_at, state=Raw(state))
    return Line(position, stream, version, topic, recorded_at, state_base64=state)


def _is_line(state: bytes) -> bool:
    """Whether it is JSON that stands as it is within a line of JSON."""
    if b"\n" in state or b"\r" in state:
        return False
    try:
        state.decode()  # a raw part is only passed over
        return bytes(msgspec.json.decode(state, type=Raw)) == state
    except (ValueError, RecursionError):
        return False


def _state(line: Line) -> bytes:
    if isinstance(line.state, Raw):
        return bytes(line.state)
    return b"" if line.state_base64 is UNSET else line.state_base64
