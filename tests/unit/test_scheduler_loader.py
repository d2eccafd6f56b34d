"""Keeping the due index true: pages of the near future, then every fact as it comes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from application.ports import Group, NewFact
from application.scheduler import loader
from domain.facts import TaskCompleted
from tests.support.entries import META
from tests.support.given import after, created, definition, every, updated
from tests.support.scheduler import REQUEST, World


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 5, and an index of 20."""
    monkeypatch.setattr(loader, "PAGE", 5)
    monkeypatch.setattr(loader, "MAX_ENTRIES", 20)


async def test_what_is_beyond_the_window_is_called_when_its_time_comes() -> None:
    world = World()
    await world.create(at=after(3600))
    await world.create(at=after(2 * 3600))
    async with world.scheduler():
        await world.clock.reach(after(3 * 3600))
    assert [call.at for call in world.calls] == [after(3600), after(2 * 3600)]


async def test_what_is_created_beyond_the_window_is_called_when_its_time_comes() -> None:
    world = World()
    async with world.scheduler():
        await world.clock.reach(after(30))
        await world.create(at=after(600))
        await world.clock.reach(after(601))
    assert [call.at for call in world.calls] == [after(600)]


async def test_a_task_that_is_moved_from_beyond_the_window_to_within_is_called_at_its_new_place() -> None:
    world = World()
    task = await world.create(at=after(7200))
    async with world.scheduler():
        await world.clock.reach(after(10))
        await world.update(task, at=after(20))
        await world.clock.reach(after(8000))
    assert [call.at for call in world.calls] == [after(20)]


async def test_a_task_that_is_moved_to_within_and_cancelled_is_not_called() -> None:
    world = World()
    task = await world.create(at=after(7200))
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(20))
            await world.cancel(task)
        await world.clock.reach(after(60))
    assert world.calls == []


async def test_a_move_from_beyond_the_window_survives_an_outage() -> None:
    world = World()
    task = await world.create(at=after(7200))
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(20))
            await world.clock.settle()
        with world.log.away():
            await world.clock.reach(after(5))
        await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(20)]


async def test_a_task_that_cannot_be_read_keeps_the_feed_from_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    task = await world.create(at=after(7200))
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(20))
            world.log.plant(task, 3, "task.renamed.v9", b"{}")
        await world.create(at=after(30))
        await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]
    assert "task.renamed.v9" in caplog.text


@pytest.mark.usefixtures("small")
async def test_more_tasks_than_the_index_holds_are_all_called_on_time() -> None:
    world = World()
    for number in range(70):
        await world.create(at=after(30 + number // 10))
    async with world.scheduler():
        await world.clock.reach(after(60))
    assert max(world.observed.entries) <= 25
    # A page is looked for every 100 ms while the index is cut short.
    assert all(
        call.at - after(30 + number // 10) <= timedelta(milliseconds=300)
        for number, call in enumerate(world.calls)
    )
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 70


@pytest.mark.usefixtures("small")
async def test_tasks_that_stay_in_the_index_do_not_keep_the_window_from_moving() -> None:
    world = World()
    for _ in range(15):  # more than half of the index, all the time
        await world.create(cron="* * * * *")
    late = await world.create(at=after(900), url="http://target/late")
    async with world.scheduler():
        await world.clock.reach(after(901))
    assert len(world.calls) == 15 * 15 + 1
    [call] = [call for call in world.calls if call.url == "http://target/late"]
    assert call.at <= after(900.2)
    assert world.names(late)[-1] == "TaskCompleted"


@pytest.mark.usefixtures("small")
async def test_one_offs_in_progress_do_not_fill_the_index() -> None:
    world = World()
    world.caller.takes = timedelta(hours=1)
    for _ in range(30):
        await world.create(at=after(10), url="http://target/slow")
    await world.create(at=after(20))
    async with world.scheduler(concurrency=40, grace=timedelta()):
        await world.clock.reach(after(21))
        assert len(world.calls) == 31
        assert world.observed.entries[-1] == 0


@pytest.mark.usefixtures("small")
async def test_tasks_of_one_instant_are_split_between_pages() -> None:
    world = World()
    for _ in range(47):
        await world.create(at=after(10))
    async with world.scheduler(concurrency=50):
        await world.clock.reach(after(12))
    assert len({call.execution_id for call in world.calls}) == 47


async def test_what_an_old_page_lacked_is_there_once_the_projector_has_caught_up() -> None:
    world = World()
    async with world.scheduler():
        await world.clock.reach(after(25))
        world.due_tasks.projected = len(world.log.recorded)
        await world.create(at=after(340))  # beyond the window of now, and not projected
        await world.clock.reach(after(90))
        world.due_tasks.projected = None
        await world.clock.reach(after(341))
    assert [call.at for call in world.calls] == [after(340)]


async def test_a_projector_that_stands_still_for_15_minutes_delays_nothing() -> None:
    world = World()
    await world.create(trigger=every(30), url="http://often/")
    await world.create(cron="10 * * * *", url="http://hourly/")
    async with world.scheduler():
        await world.clock.reach(after(70))
        world.due_tasks.projected = len(world.log.recorded)
        await world.create(at=after(700), url="http://late/")
        await world.clock.reach(after(970))
        world.due_tasks.projected = None
        await world.clock.reach(after(1000))
    called: dict[str, list[datetime]] = {}
    for call in world.calls:
        called.setdefault(call.url, []).append(call.at)
    assert called["http://often/"] == [after(30 * number) for number in range(1, 34)]
    assert called["http://hourly/"] == [after(600)]
    assert called["http://late/"] == [after(700)]


async def test_what_has_dropped_out_of_the_index_is_put_back_by_the_next_sweep() -> None:
    world = World()
    task = await world.create(at=after(20))
    context = world.context()
    async with world.scheduler(context=context):
        await world.clock.reach(after(10))
        context.index.remove(task)
        await world.clock.reach(after(40))
    assert len(world.calls) == 1


async def test_what_happens_while_a_page_is_read_is_not_overwritten_by_it() -> None:
    world = World()
    task = await world.create(at=after(330))
    async with world.scheduler():
        await world.clock.reach(after(59))

        async def move() -> None:
            await world.update(task, at=after(340))
            await world.follower.told()

        world.due_tasks.meanwhile = move
        await world.clock.reach(after(400))
    assert [call.at for call in world.calls] == [after(340)]


async def test_a_task_that_moves_out_while_a_page_is_read_is_found_where_it_is() -> None:
    world = World()
    task = await world.create(at=after(330))
    async with world.scheduler():
        await world.clock.reach(after(59))

        async def move() -> None:
            await world.update(task, at=after(7200))
            await world.follower.told()

        world.due_tasks.meanwhile = move
        await world.clock.reach(after(7300))
    assert [call.at for call in world.calls] == [after(7200)]


async def test_an_event_that_the_old_horizon_let_pass_is_shown_by_the_page_that_moves_it() -> None:
    """While one event is looked up, a refill begins; the one before was judged by the old horizon."""
    world = World()
    moved = await world.create(at=after(7200))
    async with world.scheduler():
        with world.follower.held():
            await world.clock.reach(after(50))
            world.due_tasks.projected = len(world.log.recorded)
            beyond = NewFact(UUID(int=7), 1, created(at=after(345)))  # the horizon is at 300 s
            within = NewFact(moved, 2, updated(at=after(200), next_run_at=after(200)))  # will be looked up
            await world.log.append(Group(facts=(beyond, within), meta=META))
        with world.log.away():  # so that the looking up lasts through the refill at 60 s
            await world.clock.reach(after(65))
        world.due_tasks.projected = None
        await world.clock.reach(after(400))
    assert [call.at for call in world.calls] == [after(200), after(345)]


async def test_read_models_that_are_away_are_waited_for() -> None:
    world = World()
    await world.create(at=after(10))
    world.due_tasks.away = True
    async with world.scheduler():
        await world.clock.reach(after(20))
        assert world.calls == []
        world.due_tasks.away = False
        await world.clock.reach(after(21))
    assert len(world.calls) == 1


async def test_facts_that_happen_between_the_page_and_the_following_are_not_missed() -> None:
    world = World()
    for number in range(3):
        await world.create(at=after(10), name=f"early-{number}")

    async def create() -> None:
        await world.create(at=after(10), name="meanwhile")

    world.due_tasks.meanwhile = create
    async with world.scheduler():
        await world.clock.reach(after(11))
    assert len(world.calls) == 4


async def test_a_missing_read_model_is_made_good_by_the_log() -> None:
    world = World()
    await world.create(at=after(10))
    cancelled = await world.create(at=after(10))
    await world.cancel(cancelled)
    world.due_tasks.projected = 0
    async with world.scheduler():
        await world.clock.reach(after(11))
    assert len(world.calls) == 1


async def test_other_namespaces_are_scheduled_too() -> None:
    world = World()
    request = type(REQUEST)(namespace="other", actor="tester", correlation_id="test")
    await world.commands.create(definition(at=after(5)), request)
    async with world.scheduler():
        await world.clock.reach(after(6))
    assert [occurrence.namespace for occurrence, _ in world.observed.ends] == ["other"]
    assert len(world.facts(TaskCompleted)) == 1
