"""Starting what is queued behind runs of its task, first in, first out, once there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from application.scheduler.apart import apart
from application.scheduler.starts import Starts
from application.scheduler.turns import Turns
from application.scheduler.waiting import patiently
from application.streams import load_execution, load_latest
from domain import queueing
from domain.execution import Requested

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.task import Task


class Queues:
    """Tasks with a queue, each looked at when something has happened that may give its first one room.

    Only the first by what this node knows may start. What it knows lacks nothing that was begun before the
    first one was queued, and nothing newer starts beside a queue: so when several nodes try, they try the
    same one, and the log decides.
    """

    def __init__(self, context: Context, start: Callable[[Job], None], waiting: Callable[[], int]) -> None:
        """`waiting` tells how many won claims wait to be sent, but for those of full hosts."""
        self._log = context.log
        self._clock = context.clock
        self._ongoing = context.ongoing
        self._starts = Starts(context, start)
        self._turns = Turns(context, waiting)
        context.ongoing.tell(self._turns.add)

    async def run(self) -> None:
        """Start what is queued for ever."""
        await self._turns.take(self._look)

    async def _look(self, task_id: UUID) -> bool | None:
        """Whether this node has started something; None: there was nothing to start.

        What happens to the task from now on has it looked at again.
        """
        moved: list[bool] = []
        await apart("starting what is queued of task", task_id, self._move_up(task_id, moved))
        return any(moved) if moved else None

    async def _move_up(self, task_id: UUID, moved: list[bool]) -> None:
        while (first := self._ongoing.going(task_id).queued[:1]) and (task := await self._task(task_id)):
            execution = await self._queued(*first)
            going = self._ongoing.going(task_id)
            if execution is None or going.queued[:1] != first:
                continue
            if not queueing.moves(task, going):
                return
            moved.append(await self._moved(execution, task))

    async def _task(self, task_id: UUID) -> Task | None:
        """None: the queue stands still, or the task has changed beyond what has been followed.

        Following that change has the task looked at again.
        """
        latest = await patiently(self._clock, lambda: load_latest(self._log, task_id))
        if latest is None or latest.position > self._ongoing.position:
            return None
        return latest.task if queueing.moves(latest.task, self._ongoing.going(task_id)) else None

    async def _queued(self, execution_id: UUID) -> Requested | None:
        execution = await patiently(self._clock, lambda: load_execution(self._log, execution_id))
        assert execution is not None, "what is queued is in the log"
        self._ongoing.learn(execution)
        return execution if isinstance(execution, Requested) else None

    async def _moved(self, execution: Requested, task: Task) -> bool:
        now = self._clock.now()
        send_at = max(now, execution.occurrence.send_at)
        fact = queueing.start(execution, task, self._starts.lease(task, send_at), now)
        return await self._starts.append(execution, fact, task, send_at)
