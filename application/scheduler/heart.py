"""Saying that this node is alive and how it is, and seeing who else is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from application.scheduler.liveness import ALONE_LOOK_EVERY, LOOK_EVERY
from application.scheduler.waiting import first_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Nodes, Pulse
    from application.scheduler.context import Context

BEAT_EVERY = timedelta(seconds=1)


class Heart:
    """Beats once a second, and at once when the members are told of a change; each beat checks the clock."""

    def __init__(self, context: Context, nodes: Nodes, pulse: Callable[[], Pulse]) -> None:
        self._clock = context.clock
        self._name = context.node.name
        self._members = context.members
        self._lead = context.lead
        self._observer = context.observer
        self._nodes = nodes
        self._pulse = pulse
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
            await first_of(self._clock.pause(BEAT_EVERY), self._hurry.wait())
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
        pulse, asked = self._pulse(), self._clock.steady()
        self._observer.in_flight(pulse.in_flight)
        try:
            database = await self._nodes.beat(self._name, pulse)
        finally:
            self._lead.took(asked)
        self._said = pulse.claims
        check = self._members.clock_check
        check.compare(database, self._clock.steady() - asked)
        self._observer.clock_offset(check.offset.total_seconds())
        self._beat_if_news()

    def _beat_if_news(self) -> None:
        """What others leave to this node, or take from it, they should learn soon."""
        if self._members.claims() != self._said:
            self._hurry.set()
