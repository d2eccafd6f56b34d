"""The directory of the server's Unix socket: short enough for a socket, and closed to all but the account."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infrastructure.embedded_postgres.account import Account
from infrastructure.embedded_postgres.errors import DataDirectoryUnusable, StartFailed

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, with the final NUL.
_LONGEST = 103


def open_socket_directory(home: Path, account: Account, port: int, can_enter: Callable[[Path], bool]) -> Path:
    """Make or check the first suitable of `<home>/run` and a directory of the temporary one; mode 0700.

    Raises DataDirectoryUnusable when such a directory is somebody else's or a symbolic link.
    """
    for candidate in candidates(home, account.uid):
        if fits(candidate, port):
            _close_to_others(candidate, account)
            if can_enter(candidate):
                return candidate
    raise StartFailed("no directory is short enough for its socket and open to it: set TMPDIR to such a one")


def remove_stale_sockets(directory: Path) -> None:
    """Remove what a killed server left in the directory of a settled cluster.

    Its lock file would keep the next server out for as long as any process at all has the old pid.
    """
    for left in directory.glob(".s.PGSQL.*"):
        left.unlink()


def candidates(home: Path, uid: int) -> Iterator[Path]:
    """Name the directories that may hold the socket, the best first."""
    yield home / "run"
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    for temporary in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # noqa: S108 - _close_to_others guards it
        yield Path(temporary) / f"chronoledger-{uid}-{digest}"


def fits(directory: Path, port: int) -> bool:
    """Whether the socket's path is neither too long nor one that the server or libpq would split or trim."""
    socket = str(directory / f".s.PGSQL.{port}")
    return socket.isprintable() and not set(socket) & set(',"') and len(socket.encode()) <= _LONGEST


def _close_to_others(directory: Path, account: Account) -> None:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise _not_ours(directory, "it is not a directory") from None
    try:
        owner = os.fstat(fd).st_uid
        if owner not in {account.uid, os.geteuid()}:
            raise _not_ours(directory, f"it belongs to uid {owner}")
        os.fchmod(fd, 0o700)
        if owner != account.uid:
            os.fchown(fd, account.uid, account.gid)
    finally:
        os.close(fd)


def _not_ours(directory: Path, reason: str) -> DataDirectoryUnusable:
    advice = "it is where the database's socket must be: remove it, or set TMPDIR to another directory"
    return DataDirectoryUnusable(directory, reason, advice)
