"""Claiming what falls due: the index proposes, the log decides."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from application.scheduler.claims import ClaimAppender, ClaimConflictResolver, OverlapCheck, claim_request
from application.scheduler.dispatcher import target_host
from application.scheduler.timing import (
    NEAR,
    OUTAGE_PAUSE,
    UNABLE_PAUSE,
    isolate_errors,
    race,
    shield_until_done,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from application.scheduler.attempts import Attempts
    from application.scheduler.claims import ClaimRequest
    from application.scheduler.context import Context
    from application.scheduler.dispatcher import Dispatcher
    from application.scheduler.index import DueIndex, Entry


class ThrottledTasks:
    """Entries of the index that are due and not claimed, by host and priority, in their order.

    Whatever happens to one of them makes it due again, or ends it, in the index, and so it is throttled no
    more.
    Other nodes claim them, as all that an owner leaves.
    """

    def __init__(self, index: DueIndex, dispatcher: Dispatcher) -> None:
        self._index = index
        self._dispatcher = dispatcher
        self._hosts: dict[str, dict[int, dict[UUID, Entry]]] = {}
        self._admitted: Counter[str] = Counter()
        self._admitted_early: Counter[str] = Counter()

    def __len__(self) -> int:
        by_priority = chain.from_iterable(each.values() for each in self._hosts.values())
        return sum(entry.throttled for entries in by_priority for entry in entries.values())

    def can_put_back(self) -> bool:
        """Whether some host has room again; if none has, the dispatcher tells of the first that has."""
        for host in self._hosts:
            if self._dispatcher.has_drained(host):
                return True
        for host in self._hosts:
            self._dispatcher.watch(host)
        return False

    def put_back(self) -> None:
        """Have the index give what there is room for once more, and begin a new round of `validate`."""
        self._admitted.clear()
        self._admitted_early.clear()
        for host in list(self._hosts):
            if self._dispatcher.has_drained(host):
                self._put_back_at(host, self._dispatcher.room(host))

    def validate(self, entry: Entry) -> bool:
        """Whether there is room at an entry's host, for it and for all that were admitted in this round.

        If there is none, or others are throttled there that come before it, it is throttled.
        """
        host = target_host(entry.definition.action.url)
        before = () if entry.put_back else self._hosts.get(host, ())
        its_turn = all(entry.definition.priority < priority for priority in before)
        if its_turn and self._admitted[host] < self._dispatcher.room(host):
            self._admitted[host] += 1
            return True
        self._index.throttle(entry)
        by_priority = self._hosts.setdefault(host, {})
        by_priority.setdefault(entry.definition.priority, {})[entry.task_id] = entry
        return False

    def admit_early(self, entry: Entry) -> bool:
        """As `validate`, for what is not due soon: it goes before nothing that is throttled, and is not
        throttled.
        """
        host = target_host(entry.definition.action.url)
        if host in self._hosts or self._admitted_early[host] >= self._dispatcher.early_room(host):
            return False
        self._admitted_early[host] += 1
        return True

    def dismiss(self, entry: Entry) -> None:
        """Nothing is claimed for an entry that was admitted: another one may be."""
        self._admitted[target_host(entry.definition.action.url)] -= 1

    def _put_back_at(self, host: str, room: int) -> None:
        by_priority = self._hosts[host]
        for priority in sorted(by_priority):
            entries = by_priority[priority]
            for task_id in list(islice(entries, room)):
                self._index.release(entries.pop(task_id))
                room -= 1
            if not entries:
                del by_priority[priority]
        if not by_priority:
            del self._hosts[host]


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
MAX_CHECKED_AT_ONCE = 10
# After a long downtime each task may have hundreds of missed occurrences to record.
MAX_FACTS = 5_000
# Requests made, or answered, in one turn of the event loop: about half a millisecond of work.
SLICE = 10
WHAT = "claiming an occurrence of task"

log = logging.getLogger(__name__)


class Claimer:
    """Claims what falls due and hands what was won to the dispatcher.

    What nothing is in the way of is claimed by the `ClaimAheadWindow` ahead; the rest 75 to 100 ms,
    at-most-once tasks 10
    to 35. What needs an overlap check reads the log first, beside the rest, so that nothing else is late.
    """

    def __init__(self, context: Context, dispatcher: Dispatcher, attempts: Attempts) -> None:
        """`attempts` has outcomes appended along with claims, and renews claims whose task has changed."""
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._jobs = context.jobs
        self._members = context.members
        self._open_executions = context.open_executions
        self._observer = context.observer
        self._claim_ahead = context.claim_ahead
        self._early_from: datetime | None = None
        self._dispatcher = dispatcher
        self._attempts = attempts
        self._appender = ClaimAppender(context, attempts.dispatch)
        self._overlap_check = OverlapCheck(context)
        self._conflicts = ClaimConflictResolver(context, self._appender, self._overlap_check)
        self._changed = asyncio.Event()
        self._beside: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(MAX_CHECKED_AT_ONCE)
        self._throttled = ThrottledTasks(context.index, dispatcher)
        context.members.tell(self._owners_changed)
        context.claim_ahead.tell(self.index_changed)
        dispatcher.tell(self.index_changed)

    def index_changed(self) -> None:
        """Look at the index again: something may be due earlier than it seemed."""
        self._changed.set()

    def throttled(self) -> int:
        """How many tasks are due at a full host and not claimed for that."""
        return len(self._throttled)

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
            await self._appender.look()
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
                await race(self._clock.sleep_until(wake_at), self._changed.wait())
            else:
                return

    def _wake_at(self) -> datetime | None:
        if self._throttled.can_put_back():
            return self._clock.now()
        due_at, early = self._index.next_due(), self._index.next_early()
        near = due_at and due_at - QUANTUM
        early = early and max(self._claim_ahead.begins(early), self._early_from or self._clock.now())
        return min((at for at in (near, early, self._appender.next_look) if at), default=None)

    async def _claim_what_is_due(self) -> None:
        if not self._members.able():
            await self._clock.pause(UNABLE_PAUSE)
            return
        now = self._clock.now()
        self._throttled.put_back()
        room = MAX_READY - self._dispatcher.waiting()
        if room <= 0:
            await self._clock.pause(QUANTUM)
        else:
            await self._claim(self._pop(now, room), now)

    async def _claim(self, entries: list[Entry], now: datetime) -> None:
        try:
            if made := await self._make_requests(entries, now):
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
        early_room = MAX_EARLY - self._dispatcher.early()
        self._early_from = None if early_room > 0 else now + self._claim_ahead.step
        if len(near) < room:
            early = self._index.pop_early(now + self._claim_ahead.ahead, min(early_room, MAX_READY))
            self._claim_ahead.stepped(len(early))
            near += early
        return near

    async def _claim_made(self, made: list[ClaimRequest]) -> None:
        plain = [request for request in made if not request.claim.needs_overlap_check]
        for request in made:
            if request.claim.needs_overlap_check:
                task = asyncio.create_task(self._claim_in_turn(request))
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)
        if not plain:
            await asyncio.sleep(0)  # as when all of it was left to others
        elif not await shield_until_done(self._claim_all(plain)):
            await self._clock.pause(OUTAGE_PAUSE)

    async def _claim_in_turn(self, request: ClaimRequest) -> None:
        try:
            async with self._turn:
                if not self._members.able():  # any more
                    self._index.settle(request.entry, request.due.due_at)
                elif not await self._claim_after_check(request):
                    await self._clock.pause(OUTAGE_PAUSE)
        except Exception:
            log.exception("%s %s", WHAT, request.due.task_id)
            self._try_later(request)
        self.index_changed()

    async def _claim_after_check(self, request: ClaimRequest) -> bool:
        """Whether it was answered."""
        confirmed: list[ClaimRequest] = []
        try:
            if not await isolate_errors(WHAT, request.due.task_id, self._confirm(request, confirmed)):
                self._try_later(request)
        except LogUnavailable:
            self._index.settle(request.entry, request.due.due_at)
            return False
        if not confirmed:
            self._observer.claimed(0, 1)
            return True
        return await self._claim_all(confirmed)

    async def _confirm(self, request: ClaimRequest, confirmed: list[ClaimRequest]) -> None:
        if await self._overlap_check.confirm(request):
            confirmed.append(request)

    async def _claim_all(self, requests: list[ClaimRequest]) -> bool:
        """Whether all were answered."""
        await self._attempts.flush()
        for request in requests:
            if (
                request.job is not None
            ):  # in hand before the log has it: a change right after is not overlooked
                self._jobs.add(request.job)
        try:
            answers = await self._appender.append_all(requests)
        except BaseException as error:
            for request in requests:
                self._let_go(request)
                self._index.settle(request.entry, request.due.due_at)
            if not isinstance(error, LogUnavailable):
                raise
            self._observer.claimed(0, 0)
            return False
        return await self._go_on(requests, answers)

    async def _go_on(self, requests: list[ClaimRequest], answers: Sequence[bool | Exception]) -> bool:
        """Begin what was won, and find out about what was refused: whether that was answered as well."""
        for place, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            if place and place % SLICE == 0:
                await asyncio.sleep(0)
            if answer is True:
                self._begin(request)
            elif answer is not False:
                log.error("%s %s", WHAT, request.due.task_id, exc_info=answer)
                self._try_later(request)
        self._attempts.review(
            [request.job for request in requests if request.won and request.job and request.job.superseded]
        )
        refused = [request for request, answer in zip(requests, answers, strict=True) if answer is False]
        answered = await asyncio.gather(*map(self._look_why, refused)) if refused else []
        won = sum([request.won for request in requests])
        self._observer.claimed(won, len(requests) - won - answered.count(False))
        return all(answered)

    async def _make_requests(self, entries: list[Entry], now: datetime) -> list[ClaimRequest]:
        """Gives way to calls whose instant comes; what moves meanwhile is left to where it moved."""
        made: list[ClaimRequest] = []
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
            elif early and not self._throttled.admit_early(entry):
                self._index.leave(entry, entry.fire_at)  # a quantum before which it is looked at, like all
            elif early or self._throttled.validate(entry):
                if request := self._make_request(entry, now):
                    facts += len(request.claim.facts())
                    made.append(request)
                elif not early:
                    self._throttled.dismiss(entry)
        return made

    def _left_until(self, entry: Entry, now: datetime) -> datetime | None:
        """Until it is this node's turn, and what was begun before the task came to its place is known."""
        turn = entry.fire_at + self._members.takeover_delay(entry.task_id)
        if entry.definition.delivery == "at_most_once":
            turn += QUANTUM - LATE_QUANTUM
        if not self._open_executions.covers(entry):
            return turn if entry.fire_at > now + NEAR else max(turn, now + NEAR + QUANTUM)
        return turn if turn > max(entry.fire_at, now + NEAR) else None

    def _make_request(self, entry: Entry, now: datetime) -> ClaimRequest | None:
        try:
            request = claim_request(entry, self._node, now, self._open_executions.open_runs(entry.task_id))
        except Exception:  # a zone that this machine does not know, say: the other tasks must go on
            log.exception("task %s cannot be claimed by this node", entry.task_id)
            self._observer.failed(WHAT)
            self._index.retry(entry, now)
            return None
        if (
            request.claim.needs_overlap_check and entry.fire_at > now
        ):  # what is in its way may end before its instant
            again = QUANTUM if entry.fire_at <= now + NEAR else timedelta()
            self._index.leave(entry, entry.fire_at + again)
            return None
        return request

    async def _look_why(self, request: ClaimRequest) -> bool:
        """What the log says of a refused request; False: nothing now."""
        try:
            if not await isolate_errors(WHAT, request.due.task_id, self._resolve(request)):
                self._try_later(request)
        except LogUnavailable:
            self._index.settle(request.entry, request.due.due_at)
            return False
        finally:
            if not request.won:
                self._let_go(request)
        return True

    async def _resolve(self, request: ClaimRequest) -> None:
        if await self._conflicts.resolve(request):
            self._begin(request)

    def _begin(self, request: ClaimRequest) -> None:
        request.won = True
        self._index.settle(request.entry, request.claim.next_run_at, request.claim.runs)
        if request.job is not None:
            self._attempts.dispatch(request.job)

    def _try_later(self, request: ClaimRequest) -> None:
        self._observer.failed(WHAT)
        self._index.retry(request.entry, self._clock.now())
        self._let_go(request)

    def _let_go(self, request: ClaimRequest) -> None:
        if request.job is not None:
            self._jobs.done(request.job)
