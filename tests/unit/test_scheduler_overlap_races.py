"""The bounds of an overlap policy hold whatever a scheduler has not heard of yet, and whoever is faster."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports import LogUnavailable, Open
from application.scheduler.claimer import MAX_CHECKED_AT_ONCE
from application.scheduler.claims import ClaimAppender, ClaimRequest, claim_request
from application.scheduler.context import Context
from application.scheduler.index import Entry
from application.scheduler.jobs import Job
from domain.definition import CatchUp, Overlap
from domain.facts import ExecutionCancelled, ExecutionSkipped, ExecutionStarted, ExecutionSucceeded
from domain.identity import execution_id
from tests.support.books import check_books
from tests.support.given import after, attempt, definition, every
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

SKIP, ALL, CANCEL = Overlap(mode="skip"), Overlap(mode="queue_all"), Overlap(mode="cancel_running")


def run_of(task: UUID, due: float) -> UUID:
    return execution_id(task, after(due), "scheduled")


async def with_a_run_elsewhere(policy: Overlap) -> tuple[World, UUID]:
    """A task every ten seconds whose first occurrence runs on another node."""
    world = World()
    task = await world.create(trigger=every(10), overlap=policy)
    world.nodes.alive.add("node-2")
    await world.claim(task, after(10), next_run_at=after(20))
    return world, task


async def end(world: World, task: UUID, due: float) -> None:
    """The other node's run succeeds."""
    run, version = run_of(task, due), 1
    made = attempt(version)
    await world.append(run, ExecutionSucceeded(at=world.clock.now(), task_id=task, attempt=made))


@pytest.mark.parametrize("policy", [SKIP, ALL, CANCEL], ids=["skip", "queue", "cancel"])
async def test_what_ended_unheard_of_is_in_nobodys_way(policy: Overlap) -> None:
    world, task = await with_a_run_elsewhere(policy)
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(15))
            await end(world, task, 10)
            await world.clock.reach(after(21))
    assert world.runs() == [(20, 20)]
    assert world.names(run_of(task, 20))[0] == "ExecutionStarted"
    assert world.facts(ExecutionCancelled) == []


async def test_what_went_on_when_a_scheduler_started_is_known_to_it() -> None:
    world, _ = await with_a_run_elsewhere(SKIP)
    await world.clock.reach(after(15))
    await world.run_until(25)
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_what_waited_when_a_scheduler_started_starts_in_its_turn() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.queue(task, after(30), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        await world.clock.reach(after(35))
        assert world.calls == []
        await end(world, task, 10)
        await world.clock.reach(after(36))
    assert world.runs() == [(20, 35), (30, 35)]


@pytest.mark.parametrize("lead", [0.1, 1])
async def test_a_place_that_is_ahead_of_what_was_followed_is_not_claimed_before_that(
    lead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.scheduler.timing.LEAST", timedelta(seconds=lead))
    world = World()
    task = await world.create(trigger=every(10), overlap=SKIP)
    world.nodes.alive.add("node-2")
    open_runs = world.due_tasks.open_runs

    async def then_another_starts() -> tuple[int, Sequence[Open]]:
        answer = await open_runs()
        await world.claim(task, after(10), next_run_at=after(20))
        return answer

    monkeypatch.setattr(world.due_tasks, "open_runs", then_another_starts)
    with contextlib.ExitStack() as held:
        held.enter_context(world.follower.held())
        async with world.scheduler():
            await world.clock.reach(after(25))
            assert [world.calls, world.facts(ExecutionSkipped)] == [[], []]
            held.close()
            await world.clock.reach(after(26))
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_a_place_that_was_read_after_a_refusal_is_not_claimed_before_it_was_followed(
    world: World,
) -> None:
    task = await world.create(trigger=every(10), overlap=SKIP)
    world.nodes.alive.add("node-2")
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(9))
            await world.claim(task, after(10), next_run_at=after(20))
            await world.clock.reach(after(25))
            assert [world.calls, world.facts(ExecutionSkipped)] == [[], []]
        await world.clock.reach(after(26))
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_a_definition_that_was_read_after_a_refusal_waits_for_what_ran_under_the_old_one(
    world: World,
) -> None:
    task = await world.create(trigger=every(10), overlap=Overlap(mode="allow"))
    async with world.scheduler():
        await world.clock.reach(after(5))
        world.nodes.alive.add("node-2")
        with world.follower.held():
            await world.claim(task, after(10), next_run_at=after(20))
            await world.update(task, trigger=every(10), overlap=SKIP)
            await world.clock.reach(after(25))
            assert [world.calls, world.facts(ExecutionSkipped)] == [[], []]
        await world.clock.reach(after(26))
    assert world.calls == []
    assert world.skips("overlap") == [20]


async def test_who_ends_by_itself_is_not_replaced_and_the_newer_one_starts_all_the_same() -> None:
    world, task = await with_a_run_elsewhere(CANCEL)
    async with world.scheduler():
        with world.follower.held():
            world.log.after_reading[run_of(task, 10)] = lambda: end(world, task, 10)
            await world.clock.reach(after(21))
    assert world.runs() == [(20, 20)]
    assert world.names(run_of(task, 10)) == ["ExecutionStarted", "ExecutionSucceeded"]
    assert world.observed.claims == [(0, 1), (1, 0)]


async def test_a_task_that_moves_on_while_its_overlap_is_looked_into_is_not_claimed() -> None:
    world, task = await with_a_run_elsewhere(SKIP)
    async with world.scheduler():

        async def another_skips() -> None:
            await world.update(task, trigger=every(60), overlap=SKIP)
            await world.follower.told()

        world.log.after_reading[run_of(task, 10)] = another_skips
        await world.clock.reach(after(25))
    assert world.facts(ExecutionSkipped) == []
    assert world.observed.claims == [(0, 1)]


def started_elsewhere(world: World, task: UUID, due: float) -> Callable[[], Awaitable[object]]:
    """Another node was faster."""
    return lambda: world.claim(task, after(due), next_run_at=after(due + 10))


async def test_two_nodes_that_try_the_same_queued_one_start_it_once() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.queue(task, after(30), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        world.log.after_reading[run_of(task, 20)] = started_elsewhere(world, task, 20)
        await end(world, task, 10)
        await world.clock.reach(after(38))
        assert world.calls == []  # the other node's run of the first one takes the room
        await end(world, task, 20)
        await world.clock.reach(after(39))
    assert world.runs() == [(30, 38)]
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionStarted", "ExecutionSucceeded"]


async def test_what_a_user_cancels_while_its_start_is_decided_lets_the_next_one_start() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.queue(task, after(30), run_of(task, 10), after(40))
    await world.clock.reach(after(33))
    async with world.scheduler():
        await world.clock.reach(after(34))
        world.log.after_reading[task] = lambda: world.cancel_execution(run_of(task, 20))
        await end(world, task, 10)
        await world.clock.reach(after(35))
    assert world.runs() == [(30, 34)]
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionCancelled"]


async def test_a_change_that_was_not_followed_yet_keeps_a_queue_waiting(world: World) -> None:
    world.caller.takes = timedelta(seconds=15)
    trigger = every(10, end_at=after(20))
    task = await world.create(trigger=trigger, overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(22))
        with world.follower.held():
            await world.update(task, trigger=trigger, overlap=ALL, url="http://target/new")
            await world.clock.reach(after(28))
            assert world.runs() == [(10, 10)]
        await world.clock.reach(after(30))
    assert world.runs() == [(10, 10), (20, 28)]
    assert world.calls[1].url == "http://target/new"


async def test_a_run_that_this_node_ends_makes_room_before_it_is_followed(world: World) -> None:
    world.caller.takes = timedelta(seconds=15)
    await world.create(trigger=every(10, end_at=after(20)), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(22))
        with world.follower.held():
            await world.clock.reach(after(26))
    assert world.runs() == [(10, 10), (20, 25)]


async def test_who_ends_a_queued_one_first_ends_it_once() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    run = await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.clock.reach(after(23))
    async with world.scheduler():
        with contextlib.ExitStack() as held:

            async def cancel_unheard() -> None:
                held.enter_context(world.follower.held())
                await world.cancel_execution(run, "not needed")

            world.log.after_reading[run] = cancel_unheard
            await world.cancel(task)
            await world.clock.reach(after(25))
    assert [fact.reason for fact in world.facts(ExecutionCancelled)] == ["cancelled by a user: not needed"]


async def test_room_that_somebody_takes_while_a_start_is_decided_is_gone() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    run = await world.queue(task, after(20), run_of(task, 10), after(30))
    await world.clock.reach(after(23))
    async with world.scheduler():

        async def start_another() -> None:  # by a release that knows no queues
            await world.claim(task, after(30), next_run_at=after(40))
            await world.follower.told()

        world.log.after_reading[run] = start_another
        await end(world, task, 10)
        await world.clock.reach(after(25))
        assert world.calls == []
        await end(world, task, 30)
        await world.clock.reach(after(26))
    assert world.runs() == [(20, 25)]


async def test_a_queued_one_whose_answer_was_lost_is_found_in_the_log() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    async with world.scheduler():
        with world.follower.held(), world.log.losing_answers():
            await world.clock.reach(after(20.3))
        await end(world, task, 10)
        await world.clock.reach(after(29))
    assert [due for due, _ in world.runs()] == [20]
    assert world.names(run_of(task, 20)) == ["ExecutionQueued", "ExecutionStarted", "ExecutionSucceeded"]


async def test_what_another_schedule_had_dropped_is_queued_anew() -> None:
    world, task = await with_a_run_elsewhere(ALL)
    claimed = await world.claim(task, after(20), next_run_at=after(30))
    dropped = ExecutionSkipped(at=after(20), occurrence=claimed.occurrence, reason="moved", next_run_at=None)
    await world.append(claimed.id, dropped)
    await world.update(task, cron="0 * * * *", overlap=ALL)
    await world.clock.reach(after(15))
    await world.update(task, trigger=every(10), overlap=ALL)
    async with world.scheduler():
        await world.clock.reach(after(25))
        await end(world, task, 10)
        await world.clock.reach(after(26))
    assert world.runs() == [(20, 25)]
    assert world.names(claimed.id)[2:] == ["ExecutionQueued", "ExecutionStarted", "ExecutionSucceeded"]


async def overlapping(world: World, *, tasks: int = 1) -> list[UUID]:
    """The runs of as many tasks, on another node, that are going on when their tasks are next due: at 20."""
    world.nodes.alive.add("node-2")
    runs = []
    for _ in range(tasks):
        task = await world.create(trigger=every(10), overlap=SKIP)
        runs.append((await world.claim(task, after(10), next_run_at=after(20))).id)
    await world.clock.reach(after(12))
    return runs


def read_slowly(world: World, runs: list[UUID], until: float) -> None:
    """The answer about these takes until then."""
    for run in runs:
        world.log.after_reading[run] = lambda: world.clock.sleep_until(after(until))


async def test_nothing_else_is_late_while_an_overlap_is_looked_into(world: World) -> None:
    runs = await overlapping(world)
    await world.create(at=after(20.5))
    async with world.scheduler():
        read_slowly(world, runs, until=24)
        await world.clock.reach(after(21))
        assert world.runs() == [(20.5, 20.5)]
        assert world.skips("overlap") == []
        await world.clock.reach(after(25))
    assert world.skips("overlap") == [20]


async def test_what_takes_the_place_of_a_run_starts_at_its_instant(world: World) -> None:
    world.caller.takes = timedelta(seconds=25)
    await world.create(trigger=every(10), overlap=Overlap(mode="cancel_running"))
    await world.run_until(21)
    assert [call.at for call in world.calls] == [after(10), after(20)]


async def test_who_stops_finishes_what_it_looks_into_and_begins_no_more_of_it(world: World) -> None:
    runs = await overlapping(world, tasks=MAX_CHECKED_AT_ONCE + 3)
    async with world.scheduler() as running:
        read_slowly(world, runs, until=24)
        await world.clock.reach(after(21))
        running.cancel()
        await world.clock.until(running.done)
    assert world.skips("overlap") == [20] * MAX_CHECKED_AT_ONCE


async def test_what_is_looked_into_keeps_no_scheduler_beyond_its_grace(world: World) -> None:
    runs = await overlapping(world)
    async with world.scheduler(grace=timedelta(seconds=5)) as running:
        read_slowly(world, runs, until=1e6)
        await world.clock.reach(after(21))
        running.cancel()
        await world.clock.until(running.done)
        assert world.clock.now() <= after(27)


async def test_an_outage_only_delays_what_is_looked_into(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await overlapping(world)
    reads = []
    read_stream = world.log.read_stream

    async def counted(stream: UUID) -> object:
        reads.append(stream)
        return await read_stream(stream)

    async with world.scheduler():
        await world.clock.reach(after(19))
        monkeypatch.setattr(world.log, "read_stream", counted)
        with world.log.away():
            await world.clock.reach(after(25))
        assert len(reads) <= 13  # twice a second
        await world.clock.reach(after(27))
    assert world.skips("overlap") == [20]


async def test_what_cannot_be_looked_into_stops_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    [run] = await overlapping(world)
    await world.create(at=after(22))

    async def unreadable() -> None:
        raise ValueError("the database refuses the statement")

    async with world.scheduler():
        world.log.after_reading[run] = unreadable
        await world.clock.reach(after(25))
    assert "claiming an occurrence of task" in caplog.text
    assert world.runs() == [(22, 22)]


class Bidding:
    """Bids for one occurrence of a task, and what they have started."""

    def __init__(self, world: World, context: Context, task: UUID) -> None:
        self.world, self.context, self.task = world, context, task
        self.started: list[Job] = []
        self.appender = ClaimAppender(context, self.started.append)
        self.run = execution_id(task, after(60), "scheduled")

    def request(self) -> ClaimRequest:
        entry = Entry(self.task, 1, "default", definition(), after(60))
        return claim_request(entry, self.context.node, self.world.clock.now())

    async def look(self) -> None:
        """When it is time again."""
        await self.world.clock.pass_by(1)
        await self.appender.look()


@pytest.fixture
async def claiming() -> Bidding:
    world = World()
    return Bidding(world, world.context(), await world.create())


async def test_a_claim_that_is_looked_for_while_it_is_made_anew_begins_once(
    claiming: Bidding, caplog: pytest.LogCaptureFixture
) -> None:
    with claiming.world.log.away(), pytest.raises(LogUnavailable):
        await claiming.appender.append(claiming.request())
    claiming.world.log.after_reading[claiming.run] = lambda: claiming.appender.append(claiming.request())
    await claiming.look()
    await claiming.look()
    assert (claiming.started, caplog.text) == ([], "")  # who has made it anew begins it
    assert claiming.world.names(claiming.run) == ["ExecutionStarted"]


async def test_a_bid_that_the_database_refuses_says_why(claiming: Bidding) -> None:
    claiming.world.log.poison = ExecutionStarted
    with pytest.raises(ValueError, match="refuses the statement"):
        await claiming.appender.append(claiming.request())
    assert claiming.world.names(claiming.run) == []


async def test_a_claim_that_is_bid_for_again_is_left_to_that_until_it_is_refused(claiming: Bidding) -> None:
    with claiming.world.log.losing_answers(), pytest.raises(LogUnavailable):
        await claiming.appender.append(claiming.request())
    again = claiming.request()
    assert again.job is not None
    claiming.context.jobs.add(again.job)
    await claiming.look()
    assert claiming.started == []
    assert not await claiming.appender.append(again)
    claiming.context.jobs.done(again.job)
    await claiming.look()
    assert [job.execution.id for job in claiming.started] == [claiming.run]
    assert len(claiming.world.facts(ExecutionStarted)) == 1


POLICIES = [
    Overlap(mode="skip"),
    Overlap(mode="queue_one"),
    Overlap(mode="queue_all", max_running=2),
    Overlap(mode="cancel_running"),
]


def outage(world: World, _: list[MortalNode]) -> contextlib.AbstractContextManager[None]:
    return world.outage()


def lost_answers(world: World, _: list[MortalNode]) -> contextlib.AbstractContextManager[None]:
    return world.log.losing_answers()


def deaf(_: World, nodes: list[MortalNode]) -> contextlib.AbstractContextManager[None]:
    return nodes[0].follower.held()


@contextlib.contextmanager
def death(_: World, nodes: list[MortalNode]) -> Iterator[None]:
    nodes.pop(0).kill()
    yield


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode)
@pytest.mark.parametrize("trouble", [outage, lost_answers, deaf, death])
async def test_the_books_balance_whatever_happens_amid_runs_that_overlap(
    world: World,
    policy: Overlap,
    trouble: Callable[[World, list[MortalNode]], contextlib.AbstractContextManager[None]],
) -> None:
    world.caller.takes = timedelta(seconds=12)
    catch_up = CatchUp(mode="all") if policy.mode == "queue_all" else CatchUp()
    tasks = [await world.create(trigger=every(10), overlap=policy, catch_up=catch_up) for _ in range(3)]
    nodes = [MortalNode(world, name) for name in ("node-1", "node-2")]
    await world.clock.reach(after(15))
    with trouble(world, nodes):
        await world.clock.reach(after(38))
    await world.clock.reach(after(170))
    made_late = [at for _, at in world.runs() if at > 100]
    for task in tasks:
        await world.cancel(task)
    await world.clock.reach(after(300))
    for node in nodes:
        await node.stop()
    check_books(world)
    assert len(made_late) >= 3 * len(tasks)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.mode)
async def test_a_node_that_joins_amid_runs_that_overlap_knows_what_goes_on(
    world: World, policy: Overlap
) -> None:
    world.caller.takes = timedelta(seconds=25)
    tasks = [await world.create(trigger=every(10), overlap=policy) for _ in range(6)]
    nodes = [MortalNode(world, "node-1")]
    for seconds in (12, 23, 36, 47):
        await world.clock.reach(after(seconds))
        nodes.append(MortalNode(world, f"node-{seconds}"))
        if len(nodes) > 2:
            await nodes.pop(0).stop()
    await world.clock.reach(after(100))
    for task in tasks:
        await world.cancel(task)
    await world.clock.reach(after(200))
    for node in nodes:
        await node.stop()
    books = check_books(world)
    assert books.ledger.overlaps.most[policy.mode] == (policy.max_running or 1)
