"""One scheduler: its parts wired together, started in order, and stopped without dropping a call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from application.ports import HeartbeatPayload, LogUnavailable
from application.scheduler.attempts import Attempts, Retries
from application.scheduler.claimer import Claimer
from application.scheduler.dispatcher import Dispatcher
from application.scheduler.jobs import LeaseRenewal
from application.scheduler.loader import Loader
from application.scheduler.membership import ALONE_LOOK_EVERY, LOOK_EVERY
from application.scheduler.outcomes import Outcomes
from application.scheduler.requests import QueuedExecutions, RequestedExecutions
from application.scheduler.rescuer import Rescuer
from application.scheduler.timing import ClockWatch, race

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import DueTasks, Follower, Nodes
    from application.scheduler.context import Context

BEAT_EVERY = timedelta(seconds=1)

log = logging.getLogger(__name__)


class Heartbeat:
    """Beats once a second, and at once when the members are told of a change.

    Each beat compares the clock with the database's, and notices when it has been set: what is due by the new
    time may lie beyond what has been loaded.
    """

    def __init__(
        self, context: Context, nodes: Nodes, loader: Loader, payload: Callable[[], HeartbeatPayload]
    ) -> None:
        self._clock = context.clock
        self._watch = ClockWatch(context.clock)
        self._loader = loader
        self._name = context.node.name
        self._members = context.members
        self._claim_ahead = context.claim_ahead
        self._observer = context.observer
        self._nodes = nodes
        self._payload = payload
        self._hurry = asyncio.Event()
        self._said: bool | None = None
        context.members.tell(self._beat_if_news)

    async def first_beat(self) -> None:
        """Beat and look once. Nothing may be claimed under a name that others take for dead."""
        while True:
            try:
                await self._beat()
                return await self._members.look(self._nodes)
            except LogUnavailable:
                await self._clock.pause(BEAT_EVERY)

    async def run(self) -> None:
        """Beat and look for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat_regularly())
            group.create_task(self._look_regularly())

    async def _beat_regularly(self) -> None:
        while True:
            await race(self._clock.pause(BEAT_EVERY), self._hurry.wait())
            if jump := self._watch.jumped():
                log.warning(
                    "the clock was set by %+.1f s: looking for what is due anew", jump.total_seconds()
                )
                self._loader.refill_now()
            try:
                await self._beat()
            except LogUnavailable:
                await self._clock.pause(LOOK_EVERY)

    async def _look_regularly(self) -> None:
        while True:
            await self._clock.pause(ALONE_LOOK_EVERY if self._members.alone() else LOOK_EVERY)
            try:
                await self._members.look(self._nodes)
            except LogUnavailable:
                self._members.liveness.lose_sight()

    async def _beat(self) -> None:
        self._hurry.clear()
        payload, asked = self._payload(), self._clock.steady()
        self._observer.in_flight(payload.in_flight)
        try:
            database = await self._nodes.beat(self._name, payload)
        finally:
            self._claim_ahead.took(asked)
        self._said = payload.claims
        check = self._members.clock_check
        check.compare(database, self._clock.steady() - asked)
        self._observer.clock_offset(check.offset.total_seconds())
        self._beat_if_news()

    def _beat_if_news(self) -> None:
        """What others leave to this node, or take from it, they should learn soon."""
        if self._members.claims() != self._said:
            self._hurry.set()


SHARE_SAMPLE = 200
DRAIN_POLL = timedelta(milliseconds=20)


class Scheduler:
    """Runs until cancelled; then claims nothing more and gives running calls `grace` to end."""

    def __init__(
        self,
        context: Context,
        due_tasks: DueTasks,
        follower: Follower,
        nodes: Nodes,
        *,
        concurrency: int,
        per_host: int,
        grace: timedelta,
    ) -> None:
        """`concurrency` bounds the calls in flight, `per_host` those to one host and port."""
        self._clock = context.clock
        self._node = context.node
        self._observer = context.observer
        self._nodes = nodes
        self._index = context.index
        self._members = context.members
        self._claim_ahead = context.claim_ahead
        self._grace = grace
        outcomes = Outcomes(context)
        lease_renewal = LeaseRenewal(context, outcomes)
        self._dispatcher = dispatcher = Dispatcher(context.clock, per_host, concurrency)
        self._attempts = attempts = Attempts(context, dispatcher, lease_renewal, outcomes)
        start = attempts.dispatch
        self._retries = Retries(context, lease_renewal, attempts)
        self._claimer = Claimer(context, dispatcher, attempts)
        self._requests = RequestedExecutions(context, start, dispatcher.waiting)
        self._queued_executions = QueuedExecutions(context, start, dispatcher.waiting)
        self._loader = Loader(
            context,
            due_tasks,
            follower,
            self._claimer,
            self._requests,
            attempts,
        )
        self._rescuer = Rescuer(context, due_tasks, nodes, lease_renewal, attempts, self._requests)
        self._heartbeat = Heartbeat(context, nodes, self._loader, self._payload)

    async def run(self) -> None:
        """Schedule until cancelled; an error of any part ends all of them and is raised."""
        await self._heartbeat.first_beat()
        calls = [asyncio.create_task(part.run()) for part in (self._attempts, self._heartbeat)]
        claiming = (
            self._loader,
            self._claimer,
            self._retries,
            self._requests,
            self._queued_executions,
            self._rescuer,
        )
        claims = [asyncio.create_task(part.run()) for part in claiming]
        try:
            # Not gather, which would break off the calls as soon as this is cancelled.
            ended, _ = await asyncio.wait([*calls, *claims], return_when=asyncio.FIRST_COMPLETED)
            ended.pop().result()
        finally:
            self._members.leave()
            deadline = self._clock.steady() + self._grace
            await self._stop(claims, deadline)
            await self._drain(deadline)
            await self._stop(calls, deadline)
            with contextlib.suppress(LogUnavailable):
                await self._nodes.leave(self._node.name)

    def _payload(self) -> HeartbeatPayload:
        self._observer.held_back(self._dispatcher.held_back() + self._claimer.throttled())
        self._observer.claim_lead(self._claim_ahead.ahead.total_seconds())
        check = self._members.clock_check
        return HeartbeatPayload(
            claims=self._members.claims(),
            clock_right=check.right(),
            clock_offset_ms=check.offset // timedelta(milliseconds=1),
            share=self._members.share(islice(self._index.task_ids(), SHARE_SAMPLE)),
            in_flight=self._dispatcher.under_way(),
            entries=len(self._index),
            position=self._loader.position(),
        )

    async def _stop(self, parts: list[asyncio.Task[None]], deadline: timedelta) -> None:
        """Cancel; what is finishing an append may do so until the deadline."""
        for part in parts:
            part.cancel()
        await race(asyncio.wait(parts), self._clock.pause(deadline - self._clock.steady()))
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)

    async def _drain(self, deadline: timedelta) -> None:
        """What is claimed is still sent, and what is sent is still recorded, as far as the grace allows."""
        if calls := self._attempts.unfinished():
            self._observer.draining(calls, self._clock.now() + (deadline - self._clock.steady()))
        while self._attempts.unfinished() and self._clock.steady() < deadline:
            await self._attempts.flush()
            await self._clock.pause(DRAIN_POLL)
