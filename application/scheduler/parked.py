"""What is due at a site for which enough waits already: it stays unclaimed, so that it grows no lease old."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from application.scheduler.sites import site_of

if TYPE_CHECKING:
    from uuid import UUID

    from application.scheduler.due_index import DueIndex, Entry
    from application.scheduler.lineup import Lineup


class Parked:
    """Entries of the index that are due and not bid for, by site, in their order.

    Whatever happens to one of them makes it due again, or ends it, in the index, and so it is parked no more.
    Other nodes claim them, as all that an owner leaves.
    """

    def __init__(self, index: DueIndex, lineup: Lineup) -> None:
        self._index = index
        self._lineup = lineup
        self._sites: dict[str, dict[UUID, Entry]] = {}
        self._admitted: Counter[str] = Counter()

    def can_put_back(self) -> bool:
        """Whether some site has room again; if none has, the lineup tells of the first that has."""
        for site in self._sites:
            if self._lineup.has_drained(site):
                return True
        for site in self._sites:
            self._lineup.watch(site)
        return False

    def put_back(self) -> None:
        """Have the index give what there is room for once more, and begin a new round of `admit`."""
        self._admitted.clear()
        for site, entries in list(self._sites.items()):
            if not self._lineup.has_drained(site):
                continue
            for task_id in list(entries)[: self._lineup.room(site)]:
                self._index.unpark(entries.pop(task_id))
            if not entries:
                del self._sites[site]

    def admit(self, entry: Entry) -> bool:
        """Whether there is room at an entry's site, for it and for all that were admitted in this round.

        If there is none it is parked.
        """
        site = site_of(entry.definition.action.url)
        if self._admitted[site] < self._lineup.room(site):
            self._admitted[site] += 1
            return True
        self._index.park(entry)
        self._sites.setdefault(site, {})[entry.task_id] = entry
        return False
