"""Several schedulers on one log: who claims what, and what happens when one joins, leaves, dies or hangs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from application.ports import Beat
from application.scheduler.membership import SETTLED_AFTER, TAKEOVER_DELAY, Liveness, Members, rank
from application.scheduler.requests import TOGETHER, FailoverQueue
from domain.facts import ExecutionSkipped, ExecutionStarted, ExecutionTakenOver
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

NAMES = ("node-1", "node-2", "node-3")
EXPIRY = timedelta(seconds=6)


@contextlib.asynccontextmanager
async def schedulers(world: World, *names: str) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    async with contextlib.AsyncExitStack() as stack:
        running = {}
        for name in names:
            follower = FakeFollower(world.log)
            running[name] = await stack.enter_async_context(world.scheduler(name, follower=follower))
        yield running


def owner(task: UUID, names: tuple[str, ...] = NAMES) -> str:
    return min(names, key=lambda name: rank(name, set(names) - {name}, task))


def lateness(world: World) -> list[timedelta]:
    return [fact.at - fact.occurrence.due_at for fact in world.facts(ExecutionStarted)]


def refused(world: World) -> int:
    return sum(refused for _, refused in world.observed.claims)


async def test_each_task_is_claimed_by_its_owner_and_nobody_else_tries(world: World) -> None:
    tasks = [await world.create(at=after(10 + number / 20)) for number in range(200)]
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(30))
    claims = world.facts(ExecutionStarted)
    assert {fact.occurrence.task_id: fact.node for fact in claims} == {task: owner(task) for task in tasks}
    assert len(claims) == len(world.calls) == 200
    assert refused(world) == 0
    assert all(40 < share < 100 for share in Counter(fact.node for fact in claims).values())
    assert max(lateness(world)) <= timedelta()


async def test_crons_stay_with_their_owner(world: World) -> None:
    tasks = [await world.create(cron="* * * * *") for _ in range(20)]
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(5 * 60))
    claims = [(fact.occurrence.task_id, fact.node) for fact in world.facts(ExecutionStarted)]
    assert Counter(claims) == {(task, owner(task)): 5 for task in tasks}
    assert refused(world) == 0
    assert world.facts(ExecutionSkipped) == []


async def test_a_death_moves_only_what_the_dead_node_had_and_delays_it_by_less_than_the_expiry(
    world: World,
) -> None:
    tasks = [await world.create(at=after(10 + number / 10)) for number in range(200)]
    async with schedulers(world, *NAMES[1:]):
        victim = MortalNode(world, NAMES[0])
        await world.clock.reach(after(15))
        victim.kill()
        await world.clock.reach(after(60))
    claims = world.facts(ExecutionStarted)
    assert len(claims) == len({fact.occurrence.task_id for fact in claims}) == 200
    for fact in claims:
        due_at, task = fact.occurrence.due_at, fact.occurrence.task_id
        died = owner(task) == NAMES[0] and due_at > after(15.02)
        assert fact.node == (owner(task, NAMES[1:]) if died else owner(task))
        assert fact.at - due_at <= (EXPIRY if died else timedelta())
    assert any(owner(task) == NAMES[0] for task in tasks)
    assert refused(world) == 0


async def test_what_a_dead_node_had_begun_is_taken_over_by_the_others_together(world: World) -> None:
    world.nodes.known["dead-1"] = NOON
    for number in range(30):
        await world.claim(await world.create(at=after(number / 100)), after(number / 100), node="dead-1")
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(8))
    taken = Counter(fact.node for fact in world.facts(ExecutionTakenOver))
    assert set(taken) == set(NAMES)
    assert sum(taken.values()) == len(world.calls) == 30
    assert all(fact.at <= after(7) for fact in world.facts(ExecutionTakenOver))


async def test_a_node_that_beats_and_claims_nothing_silences_no_task(world: World) -> None:
    tasks = [await world.create(at=after(20 + number / 10)) for number in range(30)]
    async with schedulers(world, *NAMES[1:]):
        hanging = MortalNode(world, NAMES[0])
        await world.clock.reach(after(10))
        hanging.hang()
        await world.clock.reach(after(60))
        hanging.kill()
    claims = {fact.occurrence.task_id: fact for fact in world.facts(ExecutionStarted)}
    assert set(claims) == set(tasks)
    for task, fact in claims.items():
        late = fact.at - fact.occurrence.due_at
        left = owner(task) == NAMES[0]
        assert fact.node == (owner(task, NAMES[1:]) if left else owner(task))
        assert (
            TAKEOVER_DELAY - timedelta(seconds=0.1) <= late <= TAKEOVER_DELAY if left else late <= timedelta()
        )
    assert refused(world) == 0


async def test_runs_by_hand_that_a_hanging_node_should_make_are_made_by_the_next_one(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    async with schedulers(world, *NAMES[1:]):
        hanging = MortalNode(world, NAMES[0])
        await world.clock.reach(after(10))
        hanging.hang()
        runs = {await world.trigger(task) for _ in range(40)}
        await world.clock.reach(after(30))
        hanging.kill()
    assert any(owner(run) == NAMES[0] for run in runs)
    assert Counter(call.execution_id for call in world.calls) == Counter(runs)


async def test_who_joins_takes_its_share_and_nothing_else_moves(world: World) -> None:
    tasks = [await world.create(at=after(30 + number / 20)) for number in range(100)]
    async with schedulers(world, *NAMES[:2]):
        await world.clock.reach(after(10))
        await world.run_until(40, NAMES[2], follower=FakeFollower(world.log))
    assert {fact.occurrence.task_id: fact.node for fact in world.facts(ExecutionStarted)} == {
        task: owner(task) for task in tasks
    }
    assert refused(world) == 0


async def test_who_still_loads_leaves_all_to_those_who_have(world: World) -> None:
    await world.create(at=after(10))
    async with schedulers(world, NAMES[0]):
        world.due_tasks.away = True
        async with world.scheduler(NAMES[2], follower=FakeFollower(world.log)):
            await world.clock.reach(after(11))
            assert not world.nodes.pulses[NAMES[2]].claims
            assert world.nodes.pulses[NAMES[2]].share == 0
            assert world.nodes.pulses[NAMES[0]].share == 1
            world.due_tasks.away = False
            await world.clock.reach(after(12))
            assert world.nodes.pulses[NAMES[2]].claims
            assert world.nodes.pulses[NAMES[2]].share == 0.5
    assert [fact.node for fact in world.facts(ExecutionStarted)] == [NAMES[0]]


async def test_a_rolling_restart_loses_nothing_and_delays_nothing_by_a_second(world: World) -> None:
    world.caller.takes = timedelta(seconds=0.3)
    for number in range(300):
        await world.create(at=after(5 + number / 10))
    async with contextlib.AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(world.scheduler(name, follower=FakeFollower(world.log)))
            for name in NAMES
        ]
        for number, stopping in enumerate(running):
            await world.clock.reach(after(10 + 5 * number))
            stopping.cancel()
            await world.clock.until(stopping.done)
            await stack.enter_async_context(
                world.scheduler(f"node-{number}-again", follower=FakeFollower(world.log))
            )
        await world.clock.reach(after(60))
    assert len(world.facts(ExecutionStarted)) == len(world.calls) == 300
    assert world.facts(ExecutionTakenOver) == []
    assert world.facts(ExecutionSkipped) == []
    assert max(lateness(world)) < timedelta(seconds=1)
    assert refused(world) <= 10


async def test_a_node_that_is_stopping_gives_its_share_away_while_its_calls_end(world: World) -> None:
    world.caller.takes = timedelta(seconds=15)
    for number in range(60):
        await world.create(at=after(5 + number / 5))
    async with schedulers(world, *NAMES) as running:
        await world.clock.reach(after(8))
        running[NAMES[0]].cancel()
        await world.clock.reach(after(17))
        assert not running[NAMES[0]].done()
        assert not world.nodes.pulses[NAMES[0]].claims
        await world.clock.reach(after(60))
    assert max(lateness(world)[:30]) <= timedelta(seconds=0.6)
    assert len(world.facts(ExecutionStarted)) == 60


async def test_after_a_crash_a_lone_node_waits_only_for_what_its_last_run_seemed_to_own(world: World) -> None:
    first = MortalNode(world, "node-1.first")
    await world.clock.reach(after(10))
    first.kill()
    for number in range(40):
        await world.create(at=after(12 + number / 10))
    await world.clock.reach(after(12))
    await world.run_until(30, "node-1.second")
    assert len(world.calls) == 40
    assert max(lateness(world)) <= timedelta(seconds=2)


@pytest.mark.parametrize("away", ["nodes", "due_tasks"])
async def test_without_news_of_the_others_each_goes_on_with_its_share(world: World, away: str) -> None:
    for number in range(30):
        await world.create(at=after(10 + number / 10))
    async with schedulers(world, *NAMES):
        await world.clock.reach(after(5))
        getattr(world, away).away = True
        await world.clock.reach(after(20))
        getattr(world, away).away = False
        assert len(world.calls) == 30
        assert refused(world) == 0
        await world.clock.reach(after(25))


def look(liveness: Liveness, beats: dict[str, datetime], *seconds: float) -> None:
    for second in seconds:
        seen = {node: Beat(at, after(second) - at, claims=True) for node, at in beats.items()}
        liveness.look(seen, timedelta(seconds=second))


@pytest.fixture
def liveness() -> Liveness:
    return Liveness(timedelta(seconds=6))


def test_a_node_that_nobody_knows_has_left(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0)
    assert liveness.dead("node-2")
    assert liveness.silent("node-2")
    assert not liveness.dead("node-1")


def test_a_node_that_beats_again_was_not_dead(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, *range(7))
    assert liveness.dead("node-1")
    look(liveness, {"node-1": after(7)}, 7)
    assert not liveness.dead("node-1")


def test_a_node_is_not_counted_on_after_half_of_its_time(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0, 1, 2)
    assert not liveness.silent("node-1")
    look(liveness, {"node-1": NOON}, 3)
    assert liveness.silent("node-1")
    assert not liveness.dead("node-1")


def test_a_beat_that_is_old_when_it_is_first_seen_is_given_half_of_its_time(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 60)
    assert liveness.silent("node-1")
    look(liveness, {"node-1": NOON}, 61, 62)
    assert not liveness.dead("node-1")
    look(liveness, {"node-1": NOON}, 63)
    assert liveness.dead("node-1")


def test_the_time_of_an_outage_kills_nobody(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0, 1, 300)
    assert not liveness.dead("node-1")
    look(liveness, {"node-1": NOON}, *range(301, 304))
    assert liveness.dead("node-1")


def test_leases_are_judged_after_ten_seconds_of_watching(liveness: Liveness) -> None:
    assert not liveness.settled(timedelta())
    look(liveness, {}, 0)
    assert not liveness.settled(SETTLED_AFTER - timedelta(seconds=1))
    assert liveness.settled(SETTLED_AFTER)
    liveness.lose_sight()
    assert not liveness.settled(timedelta(hours=1))


def test_a_beat_is_as_old_as_the_database_says_when_it_is_first_seen(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0)
    look(liveness, {"node-1": after(0.6)}, 1)
    look(liveness, {"node-1": after(0.6)}, *range(2, 7))
    assert not liveness.dead("node-1")
    look(liveness, {"node-1": after(0.6)}, 6.2)
    assert liveness.dead("node-1")


A, B, C = (UUID(int=number) for number in (1, 2, 3))


class Waiting:
    """What waits for the turn of a node among others that come first by `takeover_delay` seconds."""

    def __init__(self, patch: pytest.MonkeyPatch, **patience: float) -> None:
        self.takeover_delay = {name: timedelta(seconds=seconds) for name, seconds in patience.items()}
        self.asked: Counter[UUID] = Counter()
        self.taken: list[tuple[UUID, float]] = []
        patch.setattr(Members, "takeover_delay", lambda _, subject: self._patience(subject))
        self.world = World()
        self.context = self.world.context()
        self.queue = FailoverQueue(self.context, lambda: 0)

    def _patience(self, subject: UUID) -> timedelta:
        self.asked[subject] += 1
        return self.takeover_delay.get({A: "a", B: "b", C: "c"}.get(subject, ""), timedelta())

    async def _take(self, subject: UUID) -> bool | None:
        self.taken.append((subject, (self.world.clock.now() - NOON).total_seconds()))
        return None

    async def until(self, seconds: float) -> list[tuple[UUID, float]]:
        """What is taken until then, and when."""
        running = asyncio.create_task(self.queue.take(self._take))
        await self.world.clock.reach(after(seconds))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self.taken


async def test_each_is_taken_once_when_its_turn_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch, a=7, b=5)
    for subject in (A, B, C, C):
        waiting.queue.add(subject)
    assert await waiting.until(10) == [(C, 0), (B, 5), (A, 7)]
    assert waiting.asked == {A: 1, B: 1, C: 1}
    waiting.queue.add(C)
    assert (await waiting.until(20))[3:] == [(C, 10)]


async def test_what_is_discarded_is_not_taken_and_waits_from_when_it_is_heard_of_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting(monkeypatch, a=5, b=5)
    waiting.queue.add(A)
    waiting.queue.add(B)
    assert await waiting.until(3) == []
    waiting.queue.discard(A)
    waiting.queue.discard(B)
    waiting.queue.discard(C)
    waiting.queue.add(A)
    assert await waiting.until(20) == [(A, 8)]


async def test_who_comes_first_is_asked_again_when_the_members_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting(monkeypatch, a=5, b=5)
    waiting.queue.add(A)
    waiting.queue.add(B)
    assert await waiting.until(1) == []
    waiting.takeover_delay["a"] = timedelta()
    waiting.context.members.loaded()
    assert await waiting.until(9) == [(A, 1), (B, 5)]
    assert waiting.asked == {A: 2, B: 2}


async def test_what_becomes_due_together_is_taken_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch)
    subjects = [UUID(int=number) for number in range(10, 10 + 2 * TOGETHER + 1)]
    for subject in subjects:
        waiting.queue.add(subject)
    assert [subject for subject, _ in await waiting.until(1)] == subjects
    assert set(waiting.asked.values()) == {1}
