"""Reasons that an export, an import or a replay is refused: one sentence each, with what to change."""

from __future__ import annotations

import errno
from pathlib import Path
from uuid import UUID

from domain.errors import shown


class TransferRefused(Exception):
    """An export, an import or a replay cannot be done as asked; nothing was changed."""


class ArchiveTaken(TransferRefused):
    """The file is there already, or belongs to another export; choose another name."""


class ArchiveUnreadable(TransferRefused):
    """The file cannot be read or written."""

    def __init__(self, path: Path, error: OSError) -> None:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        change = "make room and start it again" if full else "choose another file, or permit it"
        super().__init__(f"{path} cannot be used ({error.strerror}): {change}")


class ArchiveDamaged(TransferRefused):
    """The file is no archive of events, or not what was written; fetch it again."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} {what}; nothing of it is trusted: fetch the file again, or export once more"
        )


class NotTheWholeLog(TransferRefused):
    """The archive holds a part of a log; import it with `--partial` if that is what is wanted."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} holds a part of a log ({what}): add --partial to make a log of that part alone"
        )


class RedactedMeanwhile(TransferRefused):
    """Events were erased while they were exported; export them once more."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"a task was redacted since the export to {path} was begun: it may hold what is erased by now, "
            "and does not tell of that; remove it, and start again"
        )


class StreamsCut(TransferRefused):
    """Streams go on in the archive whose beginning is not there; export them from their first event on."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} go on from events that were left out: nothing can be built from those; export without "
            "--from, and choose by --namespace or --task instead"
        )


class NoSuchTask(TransferRefused):
    """The log knows no task of this id; check it."""

    def __init__(self, task_id: UUID) -> None:
        super().__init__(
            f"there is no task {task_id} in the log, so there is nothing to export: check the id, which must "
            "be that of a task and not of an execution (`GET /api/v1/tasks` lists tasks)"
        )


class NoSuchNamespace(TransferRefused):
    """The log knows no task of this namespace; check its name."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"there is no task of the namespace {shown(namespace)} in the log, so there is nothing to "
            "export: check its name"
        )


class PartsArchived(TransferRefused):
    """A part of a log is asked for, and some of it lies in an archive."""

    def __init__(self, month: str) -> None:
        super().__init__(
            f"what is asked for may lie in the archive of {month}, and only the whole log is exported from "
            f"archives: leave out --namespace, --task and --from, or `chronoledger archive restore {month}` "
            "first"
        )


class TargetInUse(TransferRefused):
    """Something else works on the target database; stop it first."""


class TargetIsSource(TargetInUse):
    """A log cannot be copied onto itself; name another database."""

    def __init__(self) -> None:
        super().__init__("the database to replay to is the one that the log is in: give another, empty one")


class TargetArchived(TransferRefused):
    """The database has archives of another log; choose one that has none."""

    def __init__(self) -> None:
        super().__init__(
            "months of the database's own log are, or were, in archives: choose an empty database"
        )


class TargetNotEmpty(TransferRefused):
    """The database has events of its own; choose an empty one."""

    def __init__(self, stored: int) -> None:
        super().__init__(
            f"the database holds {stored:,} events, and they are not the beginning of what is to be copied "
            "to it: choose an empty one"
        )
