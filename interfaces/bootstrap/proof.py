"""Verifying the log and what is proved of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrastructure.sealed_log.keys import read_public_key
from infrastructure.sealed_log.verifying import verify as verify_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infrastructure.sealed_log.verifying import Verified, VerifyObserver
    from infrastructure.settings import Settings


async def verify(settings: Settings, observer: VerifyObserver, key_files: Sequence[Path]) -> Verified:
    """Compare the log with its seals; with public keys from files no others are believed.

    Raises `KeyUnusable`.
    """
    pinned = [read_public_key(path) for path in key_files]
    return await verify_log(settings.direct_dsn(), observer, pinned)
