"""The sealer: seals the log in the background, some seconds after something was appended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import structlog
from psycopg import AsyncConnection, AsyncCursor

from domain.audit import NODE_LEVEL, SignedHead, TreeHead
from domain.merkle import Subtree, Tree, fold
from infrastructure.audit_log.keys import KeyRing, KeyUnusable, SigningKey, read_signing_key
from infrastructure.audit_log.publishing import HeadsUnreadable, decode, encode
from infrastructure.audit_log.store import LAST_SIZE, latest_heads, read_keys, signed_head, split
from infrastructure.event_store.follower import ListeningConnection
from infrastructure.postgres import first_line, with_liveness
from infrastructure.sql import statements

statement = statements("infrastructure.audit_log")

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


BLOCK_LEAVES = 1 << NODE_LEVEL


class Sealed(NamedTuple):
    """The head that was signed, None: there was nothing to seal; and whether the log may hold more.

    `lost` is the position that was sealed last, if there is no event any more.
    """

    signed: SignedHead | None
    more: bool
    lost: int | None


async def seal_block(connection: AsyncConnection, key: SigningKey, known: SignedHead | None = None) -> Sealed:
    """Seal what is not yet sealed, up to the next multiple of 4,096 leaves.

    The caller is the only one that seals; `known` is the last head that it signed. Raises `psycopg.Error`,
    and `SealsDiffer` where what is sealed is not what was signed.
    """
    async with connection.transaction(), connection.cursor(binary=True) as cursor:
        size, after, frontier, held = await standing(cursor, key, known)
        limit = BLOCK_LEAVES - size % BLOCK_LEAVES
        lost = None if held else after
        await cursor.execute(statement("next_leaves"), {"after": after, "limit": limit})
        row = await cursor.fetchone()
        assert row is not None
        leaves, first, last, positions, leaf_hashes, sealed_at = row
        if not leaves:
            return Sealed(None, more=False, lost=lost)
        tree, nodes = Tree(size, frontier).grown(split(leaf_hashes), NODE_LEVEL)
        block = {
            "first_leaf": size,
            "leaves": leaves,
            "first_position": first,
            "last_position": last,
            "positions": positions,
            "leaf_hashes": leaf_hashes,
            "frontier": b"".join(tree.frontier),
        }
        await cursor.execute(statement("put_block"), block)
        if nodes:
            await cursor.execute(statement("put_nodes"), node_arrays(nodes))
        head = TreeHead(tree_size=tree.size, root_hash=tree.root, last_position=last, sealed_at=sealed_at)
        signed = key.sign(head)
        await cursor.execute(statement("put_head"), _columns(signed))
        return Sealed(signed, more=leaves == limit, lost=lost)


def node_arrays(nodes: dict[Subtree, bytes]) -> dict[str, list[int] | list[bytes]]:
    """Parameters of the statements about nodes."""
    return {
        "levels": [node.level for node in nodes],
        "indexes": [node.index for node in nodes],
        "hashes": list(nodes.values()),
    }


def _columns(signed: SignedHead) -> dict[str, object]:
    return {
        "tree_size": signed.head.tree_size,
        "root_hash": signed.head.root_hash,
        "last_position": signed.head.last_position,
        "sealed_at": signed.head.sealed_at,
        "key_id": signed.key_id,
        "signature": signed.signature,
    }


REST_SECONDS = 5.0
"""From the first event that is not sealed to its seal, which later ones share; and between two attempts."""


class Sealer:
    """Seals one database's log until it is cancelled; of several, one works and the others stand by.

    While nothing is appended it sleeps. Outages are waited out. `direct_dsn` must reach Postgres without a
    transaction-pooling proxy between.
    """

    def __init__(
        self,
        direct_dsn: str,
        key_file: Path | None,
        on_head: Callable[[SignedHead], object] = lambda _signed: None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        """`on_head` hears of the latest head when this process begins to seal, and of each new one."""
        self._on_head = on_head
        self._dsn = direct_dsn
        self._key_file = key_file
        self._rest_seconds = rest_seconds
        self._lost: int | None = None
        self._told = self._differ = ""

    async def run(self) -> None:
        """Seal for ever; without a key, say so and return."""
        if self._key_file is None:
            log.warning("the log is not sealed: AUDIT_KEY_FILE names no key to sign its heads with")
            return
        try:
            key, last = read_signing_key(self._key_file), LastHead(self._key_file)
        except KeyUnusable as error:
            log.error("the log is not sealed: set AUDIT_KEY_FILE right and restart", error=str(error))  # noqa: TRY400
            return
        except HeadsUnreadable as error:
            log.error("the log is not sealed: nobody knows what was signed last", error=str(error))  # noqa: TRY400
            return
        while True:
            try:
                await self._own(key, last)
            except (psycopg.Error, OSError, TimeoutError) as error:
                if self._tells_first(first_line(error)):
                    log.warning("sealing waits for the database", error=self._told)
            except Exception as error:  # whatever it was: one that has ended would seal nothing any more
                if self._tells_first(repr(error)):
                    log.exception("sealing failed; trying again")
            await asyncio.sleep(self._rest_seconds)

    def _tells_first(self, line: str) -> bool:
        """Whether something else was told last."""
        before, self._told = self._told, line
        return line != before

    async def _own(self, key: SigningKey, last: LastHead) -> None:
        dsn = with_liveness(self._dsn)
        async with await ListeningConnection.connect(dsn, autocommit=True) as connection:
            # Not by waiting inside Postgres: that would not notice a server that vanished.
            while not await _taken(connection):  # noqa: ASYNC110
                await asyncio.sleep(self._rest_seconds)
            stored = {"key_id": key.public.id, "public_key": key.public.pem}
            await connection.execute(statement("put_key"), stored)
            for signed in await latest_heads(connection, 1):
                self._on_head(signed)
            while True:
                # What comes while it does not listen is found by the look that follows.
                await connection.execute(b"LISTEN events")
                if not await self._seal(connection, key, last):
                    async for _ in connection.notifies(stop_after=1):
                        pass
                # Under load each append would wake it.
                await connection.execute(b"UNLISTEN events")
                await asyncio.sleep(self._rest_seconds)
                await self._seal(connection, key, last)

    async def _seal(self, connection: AsyncConnection, key: SigningKey, last: LastHead) -> bool:
        """Seal all there is, unless the seals differ; whether there was something."""
        loop, anything, more = asyncio.get_running_loop(), False, True
        while more:
            started = loop.time()
            try:
                signed, more, lost = await seal_block(connection, key, known=last.signed)
            except SealsDiffer as error:
                self._tell_difference(str(error), last)
                return False
            self._told = self._differ = ""
            if lost is not None and lost != self._lost:
                log.error(
                    "an event that was sealed is no longer in the log: run `chronoledger verify`",
                    position=lost,
                )
            self._lost = lost
            if signed is not None:
                anything = True
                await asyncio.to_thread(last.keep, signed)
                self._on_head(signed)
            if more:  # a log of before is long, and nobody waits for it
                await asyncio.sleep(loop.time() - started)
        return anything

    def _tell_difference(self, what: str, last: LastHead) -> None:
        if what != self._differ:
            log.error(
                "the log is no longer sealed, for its seals are not those that were signed: run "
                "`chronoledger verify` and restore the database; to begin anew on purpose, delete the file "
                "and restart",
                error=what,
                file=str(last.file),
            )
        self._differ = what


async def _taken(connection: AsyncConnection) -> bool:
    row = await (await connection.execute(statement("take_sealing"))).fetchone()
    return row is not None and bool(row[0])
