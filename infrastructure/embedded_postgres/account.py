"""Which account runs PostgreSQL, which refuses to be root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from infrastructure.embedded_postgres.errors import DataDirectoryUnusable, StartFailed

# `postgres` exists for this very purpose. `nobody` is everywhere, but shared with whatever else runs as it.
_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An existing account of this machine; none is ever created."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether becoming this account means to give up root."""
        return self.uid != os.geteuid()


def account_for(cluster: Path) -> Account:
    """Return the account that may run `cluster`: its owner, or before it exists this process's own.

    In the place of root it is an unprivileged one. Raises DataDirectoryUnusable when the owner is root or,
    for a normal user, somebody else.
    """
    if cluster.exists():
        return _owner(cluster)
    return _unprivileged() if os.geteuid() == 0 else account_of_this_process()


def account_of_this_process() -> Account:
    """Return the account as which this process acts."""
    return _by_uid(os.geteuid(), os.getegid())


def _owner(cluster: Path) -> Account:
    status = cluster.stat()
    owner = _by_uid(status.st_uid, status.st_gid)
    if owner.uid == 0:
        advice = f"give it to an unprivileged account: chown -R {_unprivileged().name} {cluster}"
        raise DataDirectoryUnusable(cluster, "it belongs to root, as whom PostgreSQL refuses to run", advice)
    if os.geteuid() not in {0, owner.uid}:
        mine = account_of_this_process()
        reason = f"it belongs to {owner.name}, and this process runs as {mine.name}"
        raise DataDirectoryUnusable(cluster, reason, f"run as {owner.name}, or choose another DATA_DIR")
    return owner


def _unprivileged() -> Account:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StartFailed(
        "it refuses to run as root, and this machine has no account postgres or nobody to run it: "
        "start Chronoledger as a normal user"
    )


def _by_uid(uid: int, gid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(f"uid {uid}", uid, gid)
    return Account(entry.pw_name, uid, entry.pw_gid)
