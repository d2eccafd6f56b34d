"""Files that hold what tasks call and what is answered: for the account of the service alone."""

from __future__ import annotations

import os


def private(path: str, flags: int) -> int:
    """An `opener` of `open`: a file that it makes can be read and written by its owner only."""
    return os.open(path, flags, 0o600)
