"""The cluster on disk: made whole or not at all, and only ever opened by its own major version."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infrastructure.embedded_postgres.binaries import VARIABLE, Binaries
from infrastructure.embedded_postgres.errors import DataDirectoryUnusable, failure
from infrastructure.embedded_postgres.launcher import Launcher

SUPERUSER = "chronoledger"
HALF_MADE = "postgres.initdb-*"
_INITDB_SECONDS = 120
_BUILTIN_LOCALES_SINCE = 17


def ensure_cluster(cluster: Path, binaries: Binaries, launcher: Launcher) -> None:
    """Make the cluster if there is none.

    Raises DataDirectoryUnusable for one of another major version, for a directory that is no cluster and for
    a full disk; StartFailed when initdb fails otherwise.
    """
    if cluster.is_dir() and any(cluster.iterdir()):
        _check_version(cluster, binaries)
    else:
        _make(cluster, binaries, launcher)


def _check_version(cluster: Path, binaries: Binaries) -> None:
    try:
        major = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        advice = "move its files elsewhere, or choose another DATA_DIR"
        raise DataDirectoryUnusable(
            cluster, "it is not empty and holds no PostgreSQL cluster", advice
        ) from None
    if major != binaries.major:
        reason = (
            f"it holds a PostgreSQL {major} cluster, and {binaries.bin_dir} is PostgreSQL {binaries.version}"
        )
        advice = (
            f"set {VARIABLE} to a bin directory of PostgreSQL {major}, or upgrade the cluster with pg_upgrade"
        )
        raise DataDirectoryUnusable(cluster, reason, advice)


def _make(cluster: Path, binaries: Binaries, launcher: Launcher) -> None:
    home = cluster.parent
    half_made = Path(tempfile.mkdtemp(prefix=HALF_MADE.removesuffix("*"), dir=home))
    try:
        if launcher.account.is_other:
            os.chown(half_made, launcher.account.uid, launcher.account.gid)
        _initdb(half_made, binaries, launcher)
        half_made.rename(cluster)
        _make_durable(home)
    except BaseException:
        shutil.rmtree(half_made, ignore_errors=True)
        raise


def _initdb(directory: Path, binaries: Binaries, launcher: Launcher) -> None:
    printed: list[str] = []
    for locale in _locales(binaries):
        argv: list[str | Path] = [
            binaries.initdb,
            "-D",
            directory,
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            *locale,
        ]
        argv += ["--auth-local=trust", "--auth-host=reject", "--data-checksums"]
        code, printed = launcher.run(argv, timeout_seconds=_INITDB_SECONDS)
        if code == 0:
            return
        if not any("locale" in line and "error" in line for line in printed):
            break
    raise failure(directory.parent, "initdb failed", printed[-8:])


def _locales(binaries: Binaries) -> Iterator[list[str]]:
    """Sort by code point, the same on every machine, and know UTF-8's letters where that is to be had."""
    if int(binaries.major) >= _BUILTIN_LOCALES_SINCE:
        yield ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        yield ["--locale=C.UTF-8"]
        yield ["--locale=C"]


def _make_durable(directory: Path) -> None:
    # Without it a power cut could take back the rename, and all that was committed since.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
