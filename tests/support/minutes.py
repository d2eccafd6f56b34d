"""Some minutes of a world in which anything may happen, as chance has it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from domain.definition import Interval
from domain.errors import Refused
from domain.facts import AnyFact, AttemptStarted, ExecutionQueued, ExecutionStarted
from tests.support.books import check_nothing_is_overdue
from tests.support.mortal import MortalNode
from tests.support.new_tasks import CATCH_UPS, OVERLAPS
from tests.support.users import Users

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from domain.definition import Trigger

CLAIMS: list[type[AnyFact]] = [ExecutionStarted, ExecutionStarted, ExecutionQueued, AttemptStarted]
LATENCIES = [0, 0.5, 4, 4, 30, 65]  # seconds; the longest ends before its lease does
STEPS = [0.004, 0.015, 0.3, 0.9, 3, 20, 70, 200, 400]  # seconds, ahead or back
OFFSETS = [0, 0, 0, 0.01, 0.6, 3, 4.9, 6, 40]  # seconds; those beyond 5 are too much for a scheduler


@dataclass
class Minutes(Users):
    """Some minutes of users, nodes, outages and clocks that are set, as chance has it."""

    nodes: list[MortalNode] = field(default_factory=list)
    trouble: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def of_users(self) -> list[Callable[[], Awaitable[None]]]:
        """What users may do."""
        return [
            *[self.create] * 2,
            *[self.update] * 2,
            self.cancel,
            self.pause,
            self.resume,
            self.trigger,
            self.backfill,
            self.break_off,
        ]

    @property
    def of_machines(self) -> list[Callable[[], Awaitable[None]]]:
        """What may happen to machines."""
        clocks = [self.set_all_clocks, self.set_a_clock, self.set_clocks_right]
        return [self.start, self.end, self.disturb, *clocks]

    async def pass_by(self) -> None:
        """Start, live through some steps, heal, and come to rest."""
        self.world.caller.answers(*self.new_tasks.answers(self.world.clock.now()))
        await self.start()
        for _ in range(self.random.randint(5, 40)):
            await self.step()
        await self.come_to_rest()

    async def step(self) -> None:
        """Something happens, and some time goes by: seconds, or just so much that a claim is on its way."""
        self.world.caller.takes = timedelta(seconds=self.random.choice(LATENCIES))
        happening = self.random.choice([*self.of_users, *self.of_machines])
        if self.random.random() < 0.2:  # while something is on its way to the log
            meant = self.random.choice(CLAIMS)
            self.world.log.meanwhile[meant] = self.random.choice([*self.of_users, self.set_all_clocks])
        await happening()
        instants = [self.next_instant(), self.random.uniform(0, 20), self.random.uniform(0, 0.03)]
        await self.world.clock.pass_by(self.random.choice(instants))

    def next_instant(self) -> float:
        """Until 5 ms around the next full minute."""
        now = self.world.clock.now()
        return 60 - now.second - now.microsecond / 1e6 - self.random.uniform(-0.005, 0.02)

    async def start(self) -> None:
        """A node joins, with a clock that is somewhat wrong, or more than that."""
        if len(self.nodes) < 3:
            self.serial += 1
            name, ahead = f"node-{self.serial}", timedelta(seconds=self._offset())
            self.nodes.append(MortalNode(self.world, name, ahead, self.random.random))

    async def end(self) -> None:
        """A node leaves, or dies."""
        if self.nodes:
            node = self.nodes.pop(self.random.randrange(len(self.nodes)))
            if self.random.random() < 0.5:
                await node.stop()
            else:
                node.kill()

    async def set_all_clocks(self) -> None:
        """Every machine is set by so much, the database's among them or not."""
        step = self.random.choice(STEPS) * self.random.choice([-1, 1])
        self.world.clock.set_by(step)
        if self.random.random() < 0.3:
            self.world.database.ahead -= timedelta(seconds=step)

    async def set_a_clock(self) -> None:
        """One machine is set: the database's, or a scheduler's."""
        clock = self.random.choice([self.world.database, *(node.clock for node in self.nodes)])
        clock.ahead = timedelta(seconds=self._offset())

    async def set_clocks_right(self) -> None:
        """All machines agree again."""
        for clock in [self.world.database, *(node.clock for node in self.nodes)]:
            clock.ahead = timedelta()

    def _offset(self) -> float:
        return self.random.choice(OFFSETS) * self.random.choice([-1, 1])

    async def disturb(self) -> None:
        """The database goes, answers get lost, projector or follower lag; or all of that is over."""
        self.trouble.close()
        match self.random.choice(["away", "lost answers", "projector", "follower", "well"]):
            case "away":
                self.trouble.enter_context(self.world.outage())
            case "lost answers":
                self.trouble.enter_context(self.world.log.losing_answers())
            case "projector":
                self.trouble.enter_context(self.projector_stopped())
            case "follower":
                for node in self.random.sample(self.nodes, min(len(self.nodes), 1)):
                    self.trouble.enter_context(node.follower.held())
            case _:
                pass

    @contextlib.contextmanager
    def projector_stopped(self) -> Iterator[None]:
        """The read models stand still for the length of the block."""
        self.world.due_tasks.projected = len(self.world.log.recorded)
        yield
        self.world.due_tasks.projected = None

    async def come_to_rest(self) -> None:
        """All is well, cron tasks end, and what is under way has the time to end."""
        self.trouble.close()
        self.world.log.meanwhile.clear()
        await self.set_clocks_right()
        await self.start()
        await self.set_clocks_right()
        for task_id in self.tasks:
            with contextlib.suppress(Refused):
                await self.world.resume(task_id)
        self.world.caller.takes = timedelta(seconds=1)
        set_back = self.world.clock.look_at_machines() - self.world.clock.now()
        await self.world.clock.pass_by(300 + max(0, set_back.total_seconds()))
        check_nothing_is_overdue(self.world)
        for task_id in self.tasks:
            with contextlib.suppress(Refused):
                await self.world.cancel(task_id)
        await self.world.clock.pass_by(200)
        for node in self.nodes:
            await node.stop()


@dataclass
class BusyMinutes(Minutes):
    """A few tasks whose runs mostly last longer than until the next one is due."""

    def words(self, trigger: Trigger | None = None) -> dict[str, Any]:
        """Due every few seconds, by a policy that bounds what may overlap."""
        overlap = self.random.choice(OVERLAPS[1:])
        in_turn = overlap.mode == "queue_all"
        often = trigger or Interval(every_seconds=self.random.choice([5, 10]))
        return {
            **super().words(often),
            "overlap": overlap,
            "catch_up": self.random.choice(CATCH_UPS[3:] if in_turn else CATCH_UPS[:3]),
        }

    async def create(self) -> None:
        """A user makes one of the few."""
        if len(self.tasks) < 3:
            await super().create()

    def next_instant(self) -> float:
        """Until right before, or right after, the next one is due."""
        now = self.world.clock.now()
        return max(0, 5 - now.second % 5 - now.microsecond / 1e6 - self.random.uniform(-0.005, 0.03))


@dataclass
class UnsteadyMinutes(Minutes):
    """Somebody sets a clock every other moment."""

    @property
    def of_machines(self) -> list[Callable[[], Awaitable[None]]]:
        """Mostly to clocks."""
        return [
            *[self.start] * 2,
            self.end,
            self.disturb,
            *[self.set_all_clocks] * 6,
            *[self.set_a_clock] * 3,
            *[self.set_clocks_right] * 5,
        ]
