"""Going on with what dead nodes left: attempts without an outcome, and retries that nobody waits for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from application.ports import LogUnavailable, Unfinished
from application.scheduler.apart import apart
from application.scheduler.waiting import to_its_end
from application.scheduler.work import Job
from application.streams import load_execution, load_task
from domain import execution as executions
from domain import task as tasks
from domain.execution import Running, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from application.ports import DueTasks, Nodes
    from application.scheduler.context import Context
    from application.scheduler.outcomes import Outcomes
    from application.scheduler.reclaim import Reclaim
    from domain.facts import ExecutionTakenOver

EVERY = timedelta(seconds=1)
# A node beats once a second; one that has not for this long, while the database answered, is dead.
DEAD_AFTER = timedelta(seconds=10)
# A live node claims its retries at their instant; one that is this late has been forgotten.
FORGOTTEN_AFTER = timedelta(seconds=30)
AT_ONCE = 500


class Liveness:
    """Judges by watching, not by comparing clocks: a node is dead when its beat stood still for ten seconds.

    The time in which the database did not answer does not count: nobody could beat then, or record what its
    calls brought.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime, timedelta]] = {}
        self._last_look: datetime | None = None
        self._watched_since: datetime | None = None

    def look(self, beats: Mapping[str, datetime], now: datetime) -> None:
        """Compare the beats with those of the last look, at most a few seconds ago."""
        passed = min(now - self._last_look, 2 * EVERY) if self._last_look else timedelta()
        self._last_look = now
        self._watched_since = self._watched_since or now
        self._seen = {node: (beat, self._still(node, beat, passed)) for node, beat in beats.items()}

    def lose_sight(self) -> None:
        """The database does not answer."""
        self._watched_since = None

    def dead(self, node: str) -> bool:
        """Whether a node has left or stopped beating."""
        return node not in self._seen or self._seen[node][1] >= DEAD_AFTER

    def settled(self, now: datetime) -> bool:
        """Whether the database has answered for so long that leases which ended meanwhile are abandoned."""
        return self._watched_since is not None and now - self._watched_since >= DEAD_AFTER

    def _still(self, node: str, beat: datetime, passed: timedelta) -> timedelta:
        before, still = self._seen.get(node, (beat, timedelta()))
        return still + passed if before == beat else timedelta()


class Takeover:
    """Looks every second; the log decides who goes on when several nodes look at once."""

    def __init__(
        self,
        context: Context,
        due_tasks: DueTasks,
        nodes: Nodes,
        reclaim: Reclaim,
        outcomes: Outcomes,
        start: Callable[[Job], None],
        wait_for_retry: Callable[[Job], None],
    ) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._due_tasks = due_tasks
        self._nodes = nodes
        self._reclaim = reclaim
        self._outcomes = outcomes
        self._start = start
        self._wait_for_retry = wait_for_retry
        self._liveness = Liveness()
        self._hopeless: set[UUID] = set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except LogUnavailable:
                self._liveness.lose_sight()
            await self._clock.sleep_until(self._clock.now() + EVERY)

    async def look(self) -> None:
        """Take over what is abandoned now. Raises `LogUnavailable`."""
        rows = await self._due_tasks.unfinished(AT_ONCE)
        # Beats come after rows: whoever claimed one of these had beaten before.
        self._liveness.look(await self._nodes.beats(), self._clock.now())
        for row in rows:
            if row.execution_id not in self._work and self._abandoned(row):
                await to_its_end(self._adopt_apart(row.execution_id))

    def _abandoned(self, row: Unfinished) -> bool:
        now = self._clock.now()
        if row.execution_id in self._hopeless:
            return False
        if row.node != self._node.name and self._liveness.dead(row.node):
            return True
        if not self._liveness.settled(now):
            return False
        if row.retry_at is not None:
            return row.retry_at + FORGOTTEN_AFTER < now
        return row.lease_until is not None and row.lease_until < now

    def _still_abandoned(self, execution: Running | Waiting) -> bool:
        """Not when another node has just taken it over. Who waits for a retry may do so beside others."""
        return isinstance(execution, Waiting) or self._abandoned(
            Unfinished(
                execution_id=execution.id,
                node=execution.node,
                lease_until=execution.lease_until,
                retry_at=None,
            )
        )

    async def _adopt_apart(self, execution_id: UUID) -> None:
        if not await apart("taking over execution", execution_id, self._adopt(execution_id)):
            self._hopeless.add(execution_id)

    async def _adopt(self, execution_id: UUID) -> None:
        """Read the truth from the log: the row may be older than what happened since."""
        execution = await load_execution(self._log, execution_id)
        if not isinstance(execution, Running | Waiting) or not self._still_abandoned(execution):
            return
        task = await load_task(self._log, execution.occurrence.task_id)
        if task is None:
            return
        # Nobody was watching: whether the task is still as it was when the last attempt was claimed is open.
        job = Job(execution, task.definition, task.version, execution.occurrence.due_at, overtaken=True)
        job.cancelled = isinstance(task, tasks.Over)
        self._work.add(job)
        try:
            await self._go_on(job, execution)
        except BaseException:
            self._work.done(job)
            raise

    async def _go_on(self, job: Job, execution: Running | Waiting) -> None:
        if isinstance(execution, Waiting):
            self._wait_for_retry(job)
        elif end := executions.give_up(execution, self._clock.now()):
            await self._outcomes.close(job, end)
        elif await self._reclaim(job, self._further_attempt):
            self._start(job)
        else:
            self._work.done(job)

    def _further_attempt(self, job: Job) -> ExecutionTakenOver:
        running, now = job.execution, self._clock.now()
        assert isinstance(running, Running)
        return executions.take_over(running, self._node.lease(job, now), now)
