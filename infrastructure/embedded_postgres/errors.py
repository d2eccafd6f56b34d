"""Why the embedded PostgreSQL does not serve: one line each, and what to change."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

_DISK_FULL = ("No space left on device", "Check free disk space")

_ADVICE = {
    errno.ENOSPC: "free some space on that disk, or choose another DATA_DIR",
    errno.EDQUOT: "raise that quota, or choose another DATA_DIR",
    errno.ENOLCK: "choose a DATA_DIR on a local disk",
    errno.EOPNOTSUPP: "choose a DATA_DIR on a local disk",
    errno.ENOTDIR: "choose a DATA_DIR that is a directory",
    errno.EEXIST: "choose a DATA_DIR that is a directory",
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot serve."""


class BinariesNotFound(EmbeddedPostgresError):
    """No PostgreSQL programs that run here were found; CHRONOLEDGER_PG_BIN may name a directory of them."""


class DataDirectoryInUse(EmbeddedPostgresError):
    """Another process, `holder`, uses the data directory."""

    def __init__(self, data_dir: Path, holder: str) -> None:
        self.data_dir = data_dir
        self.holder = holder
        super().__init__(f"{data_dir} is in use by {holder}: stop it, or choose another DATA_DIR")


class DataDirectoryUnusable(EmbeddedPostgresError):
    """The data directory cannot hold the cluster, or holds something else."""

    def __init__(self, data_dir: Path, reason: str, advice: str) -> None:
        self.data_dir = data_dir
        self.reason = reason
        super().__init__(f"{data_dir} cannot be used: {reason}; {advice}")

    @classmethod
    def because(cls, data_dir: Path, error: OSError, who: str) -> "DataDirectoryUnusable":
        """Turn what the system refused to `who` into what the user can change."""
        subject = f"{error.filename}: " if error.filename not in {None, str(data_dir)} else ""
        advice = _ADVICE.get(error.errno or 0, f"make it writable for {who}, or choose another DATA_DIR")
        return cls(data_dir, f"{subject}{error.strerror or error}", advice)


class StartFailed(EmbeddedPostgresError):
    """PostgreSQL was started and did not come to serve; `log_tail` holds its last words."""

    def __init__(self, reason: str, log_tail: Sequence[str] = ()) -> None:
        self.log_tail = tuple(log_tail)
        said = f"; its last words: {' | '.join(self.log_tail)}" if self.log_tail else ""
        super().__init__(f"PostgreSQL did not start: {reason}{said}")


def failure(data_dir: Path, reason: str, log_tail: Sequence[str]) -> EmbeddedPostgresError:
    """Name the disk where PostgreSQL's last words say that it is full, else hand those words on."""
    if any(words in line for line in log_tail for words in _DISK_FULL):
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return DataDirectoryUnusable.because(data_dir, full, "this process")
    return StartFailed(reason, log_tail)
