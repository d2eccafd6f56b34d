"""Verifying the log, and what is proved of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from infrastructure.sealed_log.keys import KeyRing, PublicKey, read_public_key
from infrastructure.sealed_log.publishing import read_published
from infrastructure.sealed_log.verifying import verify as verify_log
from interfaces.bootstrap.archives import library
from interfaces.http.audit_answers import Evidence as Bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from domain.evidence import Evidence
    from domain.verification import Finding
    from infrastructure.sealed_log.verifying import Verified, VerifyObserver
    from infrastructure.settings import Settings


class BundleUnreadable(Exception):
    """A file is no evidence; take it from `GET /api/v1/executions/{id}/evidence` again."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is no evidence ({reason}); take it from `GET /api/v1/executions/{{id}}/evidence`"
        )


class VerifiedBundle(NamedTuple):
    """What a bundle holds, and what of it does not hold; `pinned`: the keys came from elsewhere."""

    evidence: Evidence
    findings: Sequence[Finding]
    pinned: bool


async def verify(
    settings: Settings, observer: VerifyObserver, key_files: Sequence[Path], head_files: Sequence[Path] = ()
) -> Verified:
    """Compare the log with its seals, and with heads that were published.

    With public keys from files no others are believed. Raises `KeyUnusable`, `HeadsUnreadable` and
    `ArchiveAway`.
    """
    pinned = [read_public_key(path) for path in key_files]
    witnessed = [signed for path in head_files for signed in read_published(path)]
    return await verify_log(settings.direct_dsn(), observer, pinned, witnessed, library(settings))


def verify_bundle(path: Path, key_files: Sequence[Path]) -> VerifiedBundle:
    """Check evidence by itself. Raises `BundleUnreadable` and `KeyUnusable`."""
    evidence = _evidence(path)
    pinned = [read_public_key(file) for file in key_files]
    keys = KeyRing(pinned or [PublicKey.of_pem(evidence.public_key)])
    return VerifiedBundle(evidence, list(evidence.findings(keys.flaw)), bool(pinned))


def _evidence(path: Path) -> Evidence:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bundle).to_domain()
    except OSError as error:
        raise BundleUnreadable(path, error.strerror or "it cannot be read") from error
    except ValueError as error:
        raise BundleUnreadable(path, str(error)) from error
