"""What has left the log for archives: which months, and that one of them cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from application.ports import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Set

    from domain.months import Month


class Archived(Protocol):
    """Which months of executions have left the log."""

    async def months(self) -> Set[Month]:
        """Those of which nothing is recorded any more. Raises `LogUnavailable`."""
        ...


class ArchiveAway(LogUnavailable):
    """Events that are asked for lie in an archive that cannot be read; put its file back, or restore it.

    Asking again does not help before: telling less than there is would be wrong, whoever asks.
    """

    def __init__(self, name: str, complaint: str, wanted: str = "the file back") -> None:
        """`wanted` is what has to be put where archives are."""
        super().__init__(
            f"the archive {name} is needed and cannot be read ({complaint}); put {wanted} to where "
            "ARCHIVE_DIR says"
        )
        self.name = name
