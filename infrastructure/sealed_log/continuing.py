"""Where sealing goes on, and whether what is sealed is what was signed: else nothing more may be signed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import structlog

from domain.merkle import fold
from infrastructure.sealed_log.keys import KeyRing
from infrastructure.sealed_log.publishing import HeadsUnreadable, decode, encode
from infrastructure.sealed_log.reading import LAST_SIZE, read_keys, signed_head, split
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from psycopg import AsyncCursor

    from domain.sealing import SignedHead
    from infrastructure.sealed_log.keys import SigningKey

statement = statements("infrastructure.sealed_log")

log = structlog.get_logger(__name__)


class SealsDiffer(Exception):
    """What is sealed is not what was signed; the sentence says in what."""


class Standing(NamedTuple):
    """The sealed tree: its size, last position and frontier; `held`: the event of that position is there."""

    size: int
    after: int
    frontier: tuple[bytes, ...]
    held: bool


async def standing(cursor: AsyncCursor, key: SigningKey, known: SignedHead | None) -> Standing:
    """What to go on from. `known` is the head that was signed last, as far as that is remembered.

    Raises `SealsDiffer` where the last block does not lead to the last head, that was signed by none of the
    database's keys, or the head that was signed last is not there.
    """
    block, head = (
        await _row(cursor, "sealed_so_far"),
        await _row(cursor, "heads_before", before=LAST_SIZE, limit=1),
    )
    signed = None if head is None else signed_head(head)
    if known is not None and known != signed:
        await _check_known(cursor, known)
    if block is None and signed is None:
        return Standing(0, 0, (), held=True)
    if block is None or signed is None:
        raise SealsDiffer(
            "there are heads without blocks" if block is None else "there are blocks without heads"
        )
    if signed != known and (flaw := KeyRing([key.public, *await read_keys(cursor.connection)]).flaw(signed)):
        raise SealsDiffer(f"the last head, of {signed.head.tree_size:,} events, {flaw}")
    size, position, hashes, held = block
    frontier = split(hashes)
    if (
        size != signed.head.tree_size
        or len(frontier) != size.bit_count()
        or fold(frontier) != signed.head.root_hash
    ):
        raise SealsDiffer(
            f"the last block does not lead to the last head, of {signed.head.tree_size:,} events"
        )
    after = signed.head.last_position
    return Standing(size, after, frontier, held=held or position != after)


async def _check_known(cursor: AsyncCursor, known: SignedHead) -> None:
    size = known.head.tree_size
    row = await _row(cursor, "head_of", tree_size=size)
    if row is None or signed_head(row).head.root_hash != known.head.root_hash:
        found = "is not there" if row is None else "has another root"
        raise SealsDiffer(f"the head of {size:,} events, which was signed last, {found}")


async def _row(cursor: AsyncCursor, name: str, **parameters: object) -> Sequence[Any] | None:
    await cursor.execute(statement(name), parameters)
    return await cursor.fetchone()


class LastHead:
    """The head that was signed last: in memory, and in a file beside the key, where that can be written."""

    def __init__(self, key_file: Path) -> None:
        """Raises `HeadsUnreadable` for a file that holds no head."""
        self.file = key_file.with_suffix(".head")
        if self.file == key_file:  # which must never be overwritten
            self.file = key_file.with_name(f"{key_file.name}.head")
        self.signed = _read(self.file)
        self._told = False

    def keep(self, signed: SignedHead) -> None:
        """Remember a head; a file is replaced by a whole one."""
        self.signed = signed
        unfinished = self.file.with_name(f"{self.file.name}.{uuid4().hex}")
        try:
            try:
                with unfinished.open("xb") as file:
                    file.write(encode(signed) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(self.file)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            if not self._told:
                log.warning(
                    "the head that was signed last is known until a restart only: its file cannot be written",
                    file=str(self.file),
                    error=error.strerror,
                )
            self._told = True


def _read(file: Path) -> SignedHead | None:
    try:
        return decode(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HeadsUnreadable(f"{file} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise HeadsUnreadable(
            f"{file} holds no head ({error}): run `chronoledger verify`; if nothing was changed, delete it"
        ) from error
