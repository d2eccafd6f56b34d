"""What is due at a crowded site: it is left unclaimed, so that it holds up nobody and grows no lease old."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from application.scheduler.lineup import site_of

if TYPE_CHECKING:
    from application.scheduler.due_index import DueIndex, Entry
    from application.scheduler.lineup import Lineup


class Parked:
    """Entries that were popped from the index and not bid for, by site, in their order.

    To the index they are being claimed: what moves or ends one of them makes it forgotten here. Other nodes
    claim them, as all that an owner leaves.
    """

    def __init__(self, index: DueIndex, lineup: Lineup) -> None:
        self._index = index
        self._lineup = lineup
        self._sites: dict[str, deque[Entry]] = {}
        self._let_through: Counter[str] = Counter()

    def has_room(self) -> bool:
        """Whether something can be put back."""
        return any(self._lineup.room(site) for site in self._sites)

    def put_back(self) -> None:
        """Have the index give what there is room for once more; a new round of `takes` begins."""
        self._let_through.clear()
        for site, entries in list(self._sites.items()):
            for _ in range(min(self._lineup.room(site), len(entries))):
                entry = entries.popleft()
                if self._index.claiming(entry):
                    self._index.put(entry)
            if not entries:
                del self._sites[site]

    def takes(self, entry: Entry) -> bool:
        """Park an entry if there is no room at its site; else it counts as one more claimed in this round."""
        site = site_of(entry.definition.action.url)
        if self._let_through[site] < self._lineup.room(site):
            self._let_through[site] += 1
            return False
        self._sites.setdefault(site, deque()).append(entry)
        return True
