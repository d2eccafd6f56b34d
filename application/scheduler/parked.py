"""What is due at a site for which enough waits already: it stays unclaimed, so that it grows no lease old."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING

from application.scheduler.sites import site_of

if TYPE_CHECKING:
    from uuid import UUID

    from application.scheduler.due_index import DueIndex, Entry
    from application.scheduler.lineup import Lineup


class Parked:
    """Entries of the index that are due and not bid for, by site and priority, in their order.

    Whatever happens to one of them makes it due again, or ends it, in the index, and so it is parked no more.
    Other nodes claim them, as all that an owner leaves.
    """

    def __init__(self, index: DueIndex, lineup: Lineup) -> None:
        self._index = index
        self._lineup = lineup
        self._sites: dict[str, dict[int, dict[UUID, Entry]]] = {}
        self._admitted: Counter[str] = Counter()
        self._admitted_early: Counter[str] = Counter()

    def __len__(self) -> int:
        by_priority = chain.from_iterable(each.values() for each in self._sites.values())
        return sum(entry.parked for entries in by_priority for entry in entries.values())

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
        self._admitted_early.clear()
        for site in list(self._sites):
            if self._lineup.has_drained(site):
                self._put_back_at(site, self._lineup.room(site))

    def admit(self, entry: Entry) -> bool:
        """Whether there is room at an entry's site, for it and for all that were admitted in this round.

        If there is none, or others are parked there that come before it, it is parked.
        """
        site = site_of(entry.definition.action.url)
        before = () if entry.put_back else self._sites.get(site, ())
        its_turn = all(entry.definition.priority < priority for priority in before)
        if its_turn and self._admitted[site] < self._lineup.room(site):
            self._admitted[site] += 1
            return True
        self._index.park(entry)
        by_priority = self._sites.setdefault(site, {})
        by_priority.setdefault(entry.definition.priority, {})[entry.task_id] = entry
        return False

    def admit_early(self, entry: Entry) -> bool:
        """As `admit`, for what is not due soon: it goes before nothing that is parked, and is not parked."""
        site = site_of(entry.definition.action.url)
        if site in self._sites or self._admitted_early[site] >= self._lineup.early_room(site):
            return False
        self._admitted_early[site] += 1
        return True

    def dismiss(self, entry: Entry) -> None:
        """Nothing is claimed for an entry that was admitted: another one may be."""
        self._admitted[site_of(entry.definition.action.url)] -= 1

    def _put_back_at(self, site: str, room: int) -> None:
        by_priority = self._sites[site]
        for priority in sorted(by_priority):
            entries = by_priority[priority]
            for task_id in list(islice(entries, room)):
                self._index.unpark(entries.pop(task_id))
                room -= 1
            if not entries:
                del by_priority[priority]
        if not by_priority:
            del self._sites[site]
