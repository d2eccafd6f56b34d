"""Sealing and verifying a log in tests, and doing to it what only a superuser can."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg import AsyncConnection

from domain.audit import Finding, SignedHead
from infrastructure.audit_log.keys import PublicKey, SigningKey
from infrastructure.audit_log.sealer import seal_block
from infrastructure.audit_log.store import latest_heads
from infrastructure.audit_log.verifying import Verified, verify
from infrastructure.sql import statements
from tests.support.random_log import RandomLog
from tests.support.stored import append

statement = statements("infrastructure.audit_log")

KEY = SigningKey(Ed25519PrivateKey.generate())


class Heard:
    """A `VerifyObserver` that keeps what it is told."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def verified(self, events: int, until: int) -> None:
        """Nothing to keep."""

    def found(self, finding: Finding) -> None:
        """Kept in order."""
        self.findings.append(finding)

    def places(self) -> list[tuple[str, int, int]]:
        """What was found where."""
        return [(finding.kind, finding.position, finding.until) for finding in self.findings]


async def seal(connection: AsyncConnection, key: SigningKey = KEY) -> int:
    """Seal all there is; answers the position of the last event that is sealed."""
    await connection.execute(statement("put_key"), {"key_id": key.public.id, "public_key": key.public.pem})
    while (await seal_block(connection, key)).more:
        pass
    [signed] = await latest_heads(connection, 1)
    return signed.head.last_position


async def audit_log(connection: AsyncConnection, *sizes: int, seed: int = 1) -> int:
    """A random log that grew by so many events between its seals; answers its last position."""
    facts = RandomLog(seed).grow(sum(sizes))
    for start, end in pairwise(accumulate(sizes, initial=0)):
        await append(connection, facts[start:end])
        position = await seal(connection)
    return position


async def verified(
    dsn: str, pinned: Sequence[PublicKey] = (), witnessed: Sequence[SignedHead] = ()
) -> tuple[Verified, Heard]:
    """What a verification finds."""
    heard = Heard()
    return await verify(dsn, heard, pinned, witnessed), heard


async def as_superuser(connection: AsyncConnection, *statements: str) -> None:
    """Change what nobody else can: without triggers and constraints.

    A sealer in the middle of a block has read the seals before the change, and would not see it: it is let
    finish.
    """
    async with connection.transaction():
        await connection.execute("LOCK TABLE sealed_blocks")
        await connection.execute("SET LOCAL session_replication_role = replica")
        for text in statements:
            await connection.execute(text.encode())
