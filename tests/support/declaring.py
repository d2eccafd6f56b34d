"""Files of tasks in tests: declarations, and a log of tasks in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from application.declared import Applier, Declaration, Done, Step, plan, standing
from application.ports import Recorded
from tests.support.given import definition
from tests.support.log import MemoryLog
from tests.support.scheduler import REQUEST, World


class MemoryTaskStreams:
    """`TaskStreams` of a log in memory: as Postgres has it, in the order of the ids, without what runs."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def tasks(self) -> AsyncIterator[Sequence[Recorded]]:
        """See `TaskStreams`."""
        of_tasks = (event for event in self._log.recorded if 1 << 80 <= event.stream.int < 1 << 127)
        events = sorted(of_tasks, key=attrgetter("stream", "version"))
        for _, found in groupby(events, attrgetter("stream")):
            yield list(found)


def declared(number: int = 0, *, namespace: str = "default", **words: Any) -> Declaration:
    """An entry that declares a task; `paused` and `wanted` may be told."""
    paused = words.pop("paused", None)
    wanted = words.pop("wanted", None) or definition(**words)
    name = None if isinstance(wanted, Exception) else wanted.name
    place = f"tasks[{number}]"
    return Declaration(
        number=number, place=place, namespace=namespace, name=name, wanted=wanted, paused=paused
    )


async def planned(world: World, *declarations: Declaration, prune: bool = False) -> list[Step]:
    """The steps that lead from what there is to what is declared."""
    keys = {(one.namespace, one.name) for one in declarations if one.name is not None}
    found = await standing(MemoryTaskStreams(world.log), keys)
    return plan(declarations, found, world.clock.now(), prune=prune)


async def applied(world: World, steps: Sequence[Step]) -> list[Done]:
    """What became of the steps."""
    return [done async for done in Applier(world.commands, REQUEST).apply(steps)]
