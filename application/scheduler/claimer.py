"""Claiming what falls due: the index proposes, the log decides."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from application.scheduler.claims import Bids, Contests, Refusals, bid_for
from application.scheduler.dispatcher import site_of
from application.scheduler.timing import NEAR, OUTAGE_PAUSE, UNABLE_PAUSE, apart, first_of, to_its_end

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from application.scheduler.attempts import Attempts
    from application.scheduler.claims import Bid
    from application.scheduler.context import Context
    from application.scheduler.dispatcher import Lineup
    from application.scheduler.index import DueIndex, Entry


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


# Of what is near, what is due within this is claimed in one append.
STEP = timedelta(milliseconds=25)
QUANTUM = NEAR - STEP
# What must not be sent twice is given up when its node dies in between: that is to be as short as it can be.
LATE_QUANTUM = timedelta(milliseconds=10)
# What is claimed is leased; more than can start soon would only make leases grow old.
MAX_READY = 1_000
# What is claimed earlier than that waits for nothing but its instant, and takes no room from what is sooner.
MAX_EARLY = 2_000
# Their reads take turns with all else that this node does: more at a time would end no sooner.
MAX_CONTESTED = 10
# After a long downtime each task may have hundreds of missed occurrences to record.
MAX_FACTS = 5_000
# Bids made, or answered, in one turn of the event loop: about half a millisecond of work.
SLICE = 10
WHAT = "claiming an occurrence of task"

log = logging.getLogger(__name__)


class Claimer:
    """Claims what falls due and hands what was won to the lineup.

    What nothing is in the way of is claimed by the `Lead` ahead; the rest 75 to 100 ms, at-most-once tasks 10
    to 35. What is contested has to be looked into first: that happens beside, so that nothing else is late.
    """

    def __init__(self, context: Context, lineup: Lineup, attempts: Attempts) -> None:
        """`attempts` has outcomes appended along with claims, and renews claims whose task has changed."""
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._work = context.work
        self._members = context.members
        self._ongoing = context.ongoing
        self._observer = context.observer
        self._lead = context.lead
        self._early_from: datetime | None = None
        self._lineup = lineup
        self._attempts = attempts
        self._bids = Bids(context, attempts.line_up)
        self._contests = Contests(context)
        self._refusals = Refusals(context, self._bids, self._contests)
        self._changed = asyncio.Event()
        self._beside: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(MAX_CONTESTED)
        self._parked = Parked(context.index, lineup)
        context.members.tell(self._owners_changed)
        context.lead.tell(self.index_changed)
        lineup.tell(self.index_changed)

    def index_changed(self) -> None:
        """Look at the index again: something may be due earlier than it seemed."""
        self._changed.set()

    def parked(self) -> int:
        """How many tasks are due at a full host and not claimed for that."""
        return len(self._parked)

    def _owners_changed(self) -> None:
        self._index.recall()
        self.index_changed()

    async def run(self) -> None:
        """Claim for ever; when cancelled, let what is looked into end first, unless cancelled again."""
        try:
            while True:
                await self._run_once()
        finally:
            await asyncio.gather(*self._beside)

    async def _run_once(self) -> None:
        try:
            await self._wait()
            await self._bids.look()
            await self._claim_what_is_due()
        except LogUnavailable:
            await self._clock.pause(OUTAGE_PAUSE)
        except Exception:
            log.exception("claiming what is due")
            self._observer.failed("claiming what is due")
            await self._clock.pause(OUTAGE_PAUSE)

    async def _wait(self) -> None:
        """Until the next quantum has something due: a change of the index alone is no reason to claim."""
        while True:
            self._changed.clear()
            wake_at = self._wake_at()
            if wake_at is None:
                await self._changed.wait()
            elif wake_at > self._clock.now():
                await first_of(self._clock.sleep_until(wake_at), self._changed.wait())
            else:
                return

    def _wake_at(self) -> datetime | None:
        if self._parked.can_put_back():
            return self._clock.now()
        due_at, early = self._index.next_due(), self._index.next_early()
        near = due_at and due_at - QUANTUM
        early = early and max(self._lead.begins(early), self._early_from or self._clock.now())
        return min((at for at in (near, early, self._bids.next_look) if at), default=None)

    async def _claim_what_is_due(self) -> None:
        if not self._members.able():
            await self._clock.pause(UNABLE_PAUSE)
            return
        now = self._clock.now()
        self._parked.put_back()
        room = MAX_READY - self._lineup.waiting()
        if room <= 0:
            await self._clock.pause(QUANTUM)
        else:
            await self._claim(self._pop(now, room), now)

    async def _claim(self, entries: list[Entry], now: datetime) -> None:
        try:
            if made := await self._make_bids(entries, now):
                await self._claim_made(made)
            else:  # all of it was left to others: let them have their turn, here as well
                await asyncio.sleep(0)
        except LogUnavailable:
            raise
        except Exception:
            for entry in entries:
                self._index.retry(entry, now)
            raise

    def _pop(self, now: datetime, room: int) -> list[Entry]:
        near = self._index.pop(now + NEAR, room)
        early_room = MAX_EARLY - self._lineup.early()
        self._early_from = None if early_room > 0 else now + self._lead.step
        if len(near) < room:
            early = self._index.pop_early(now + self._lead.ahead, min(early_room, MAX_READY))
            self._lead.stepped(len(early))
            near += early
        return near

    async def _claim_made(self, made: list[Bid]) -> None:
        plain = [bid for bid in made if not bid.claim.contested]
        for bid in made:
            if bid.claim.contested:
                task = asyncio.create_task(self._claim_in_turn(bid))
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)
        if not plain:
            await asyncio.sleep(0)  # as when all of it was left to others
        elif not await to_its_end(self._claim_all(plain)):
            await self._clock.pause(OUTAGE_PAUSE)

    async def _claim_in_turn(self, bid: Bid) -> None:
        try:
            async with self._turn:
                if not self._members.able():  # any more
                    self._index.settle(bid.entry, bid.due.due_at)
                elif not await self._claim_contested(bid):
                    await self._clock.pause(OUTAGE_PAUSE)
        except Exception:
            log.exception("%s %s", WHAT, bid.due.task_id)
            self._try_later(bid)
        self.index_changed()

    async def _claim_contested(self, bid: Bid) -> bool:
        """Whether it was answered."""
        confirmed: list[Bid] = []
        try:
            if not await apart(WHAT, bid.due.task_id, self._confirm(bid, confirmed)):
                self._try_later(bid)
        except LogUnavailable:
            self._index.settle(bid.entry, bid.due.due_at)
            return False
        if not confirmed:
            self._observer.claimed(0, 1)
            return True
        return await self._claim_all(confirmed)

    async def _confirm(self, bid: Bid, confirmed: list[Bid]) -> None:
        if await self._contests.confirm(bid):
            confirmed.append(bid)

    async def _claim_all(self, bids: list[Bid]) -> bool:
        """Whether all were answered."""
        await self._attempts.flush()
        for bid in bids:
            if bid.job is not None:  # in hand before the log has it: a change right after is not overlooked
                self._work.add(bid.job)
        try:
            answers = await self._bids.append_all(bids)
        except BaseException as error:
            for bid in bids:
                self._let_go(bid)
                self._index.settle(bid.entry, bid.due.due_at)
            if not isinstance(error, LogUnavailable):
                raise
            self._observer.claimed(0, 0)
            return False
        return await self._go_on(bids, answers)

    async def _go_on(self, bids: list[Bid], answers: Sequence[bool | Exception]) -> bool:
        """Begin what was won, and find out about what was refused: whether that was answered as well."""
        for place, (bid, answer) in enumerate(zip(bids, answers, strict=True)):
            if place and place % SLICE == 0:
                await asyncio.sleep(0)
            if answer is True:
                self._begin(bid)
            elif answer is not False:
                log.error("%s %s", WHAT, bid.due.task_id, exc_info=answer)
                self._try_later(bid)
        self._attempts.review([bid.job for bid in bids if bid.won and bid.job and bid.job.overtaken])
        refused = [bid for bid, answer in zip(bids, answers, strict=True) if answer is False]
        answered = await asyncio.gather(*map(self._look_why, refused)) if refused else []
        won = sum([bid.won for bid in bids])
        self._observer.claimed(won, len(bids) - won - answered.count(False))
        return all(answered)

    async def _make_bids(self, entries: list[Entry], now: datetime) -> list[Bid]:
        """Gives way to calls whose instant comes; what moves meanwhile is left to where it moved."""
        made: list[Bid] = []
        facts = 0
        for place, entry in enumerate(entries):
            if place and place % SLICE == 0:
                await asyncio.sleep(0)
            if not self._index.claiming(entry):
                continue
            early = entry.fire_at > now + NEAR
            if until := self._left_until(entry, now):
                self._index.leave(entry, until)
            elif facts >= MAX_FACTS:
                self._index.put(entry)
            elif early and not self._parked.admit_early(entry):
                self._index.leave(entry, entry.fire_at)  # a quantum before which it is looked at, like all
            elif early or self._parked.admit(entry):
                if bid := self._make_bid(entry, now):
                    facts += len(bid.claim.facts())
                    made.append(bid)
                elif not early:
                    self._parked.dismiss(entry)
        return made

    def _left_until(self, entry: Entry, now: datetime) -> datetime | None:
        """Until it is this node's turn, and what was begun before the task came to its place is known."""
        turn = entry.fire_at + self._members.patience(entry.task_id)
        if entry.definition.delivery == "at_most_once":
            turn += QUANTUM - LATE_QUANTUM
        if not self._ongoing.covers(entry):
            return turn if entry.fire_at > now + NEAR else max(turn, now + NEAR + QUANTUM)
        return turn if turn > max(entry.fire_at, now + NEAR) else None

    def _make_bid(self, entry: Entry, now: datetime) -> Bid | None:
        try:
            bid = bid_for(entry, self._node, now, self._ongoing.going(entry.task_id))
        except Exception:  # a zone that this machine does not know, say: the other tasks must go on
            log.exception("task %s cannot be claimed by this node", entry.task_id)
            self._observer.failed(WHAT)
            self._index.retry(entry, now)
            return None
        if bid.claim.contested and entry.fire_at > now:  # what is in its way may end before its instant
            again = QUANTUM if entry.fire_at <= now + NEAR else timedelta()
            self._index.leave(entry, entry.fire_at + again)
            return None
        return bid

    async def _look_why(self, bid: Bid) -> bool:
        """What the log says of a refused bid; False: nothing now."""
        try:
            if not await apart(WHAT, bid.due.task_id, self._resolve(bid)):
                self._try_later(bid)
        except LogUnavailable:
            self._index.settle(bid.entry, bid.due.due_at)
            return False
        finally:
            if not bid.won:
                self._let_go(bid)
        return True

    async def _resolve(self, bid: Bid) -> None:
        if await self._refusals.resolve(bid):
            self._begin(bid)

    def _begin(self, bid: Bid) -> None:
        bid.won = True
        self._index.settle(bid.entry, bid.claim.next_run_at, bid.claim.runs)
        if bid.job is not None:
            self._attempts.line_up(bid.job)

    def _try_later(self, bid: Bid) -> None:
        self._observer.failed(WHAT)
        self._index.retry(bid.entry, self._clock.now())
        self._let_go(bid)

    def _let_go(self, bid: Bid) -> None:
        if bid.job is not None:
            self._work.done(bid.job)
