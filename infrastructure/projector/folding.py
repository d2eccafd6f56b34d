"""What folds the log into rows: told apart, so that rows of one fold are not gone on with by another."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_SOURCES = (".py", ".sql")


@cache
def this_fold() -> str:
    """That of this release, of its sources in `projections/`, and of how a log is shared out."""
    shares = resources.files("infrastructure.projector") / "shares.py"
    return fold_of(version("chronoledger"), resources.files("projections"), shares.read_bytes())


def fold_of(release: str, folder: Traversable, *others: bytes) -> str:
    """The SHA-256, in hexadecimal digits, of a release, of all sources of a folder, and of others."""
    digest = hashlib.sha256(repr((release, *others)).encode())
    for name, content in sorted(_sources(folder, "")):
        digest.update(repr((name, content)).encode())
    return digest.hexdigest()


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif name.endswith(_SOURCES):
            yield name, entry.read_bytes()
