"""Where the cluster of a data directory lives: in it, or elsewhere when its account cannot enter it."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from infrastructure.embedded_postgres.account import Account
from infrastructure.embedded_postgres.errors import DataDirectoryUnusable

POINTER = "postgres.location"
_STATE_DIR = "/var/lib/chronoledger"
_log = structlog.get_logger(__name__)


def state_dir_of(environ: Mapping[str, str]) -> Path:
    """Return what root uses outside the data directory: CHRONOLEDGER_STATE_DIR, or /var/lib/chronoledger."""
    return Path(environ.get("CHRONOLEDGER_STATE_DIR") or _STATE_DIR).absolute()


def open_state_dir(state_dir: Path) -> Path:
    """Make the directory, searchable for all, writable for root alone; refuse one that others may change."""
    if not state_dir.exists():
        state_dir.mkdir(parents=True)
        state_dir.chmod(0o755)
    status = state_dir.lstat()
    if state_dir.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        advice = (
            f"make it a directory that only root may write: chown root {state_dir}; chmod 755 {state_dir}"
        )
        raise DataDirectoryUnusable(state_dir, "others than root may change it", advice)
    return state_dir


def recorded_home(data_dir: Path, state_dir: Path) -> Path:
    """Return the directory that the data directory's pointer names, or the data directory itself without one.

    The pointer, not the name, decides: a data directory that was moved keeps its cluster.
    """
    pointer = data_dir / POINTER
    if not pointer.exists():
        return data_dir
    home = Path(pointer.read_text().strip())
    if home.parent != state_dir:
        advice = f"set CHRONOLEDGER_STATE_DIR to {home.parent} if that is right, or remove the file"
        raise DataDirectoryUnusable(data_dir, f"{POINTER} names {home}, which is not in {state_dir}", advice)
    return home


def reachable_home(
    data_dir: Path, home: Path, account: Account, state_dir: Path, can_enter: Callable[[Path], bool]
) -> Path:
    """Return `home` if `account` can enter it, else a directory under `state_dir`, named by a pointer.

    The permissions of the data directory and its parents stay as they are. Raises DataDirectoryUnusable when
    a cluster is already in a directory that has become unreachable, or the other one is unreachable too.
    """
    if home == data_dir:
        if can_enter(data_dir):
            return data_dir
        if (data_dir / "postgres").exists():
            advice = f"make its parent directories searchable for {account.name} again, or move it"
            raise DataDirectoryUnusable(
                data_dir, f"its cluster's owner, {account.name}, cannot enter it", advice
            )
        home = state_dir / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    _open_home(home, account, can_enter)
    (data_dir / POINTER).write_text(f"{home}\n")
    because = f"{account.name} cannot enter the data directory"
    _log.info("cluster is elsewhere", data_dir=str(data_dir), cluster=str(home / "postgres"), because=because)
    return home


def _open_home(home: Path, account: Account, can_enter: Callable[[Path], bool]) -> None:
    open_state_dir(home.parent)
    home.mkdir(mode=0o755, exist_ok=True)
    home.chmod(0o755)
    if not can_enter(home):
        advice = f"choose a DATA_DIR that {account.name} can enter, such as one under /srv"
        raise DataDirectoryUnusable(
            home, f"{account.name} can enter neither it nor the data directory", advice
        )
