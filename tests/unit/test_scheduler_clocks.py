"""Wall clocks that are wrong, or are set: nothing is repeated or lost, and who is off claims nothing."""

from datetime import timedelta

import pytest

from application.scheduler.membership import ClockCheck
from domain.definition import CatchUp
from domain.facts import AttemptStarted, ExecutionSkipped, ExecutionStarted
from tests.support.fake_clock import ClockAhead, FakeClock
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after, every
from tests.support.scheduler import World

TOLERANCE = timedelta(seconds=5)


def with_a_database_of_its_own_time() -> World:
    """The database's machine is not the one whose clock is set."""
    world = World()
    world.nodes.now = lambda: NOON + world.clock.steady()
    return world


@pytest.mark.parametrize("offset", [-4.9, -0.1, 4.9])
def test_a_clock_within_the_tolerance_is_right(offset: float) -> None:
    check = ClockCheck(FakeClock(after(offset)), TOLERANCE)
    check.compare(NOON, timedelta())
    assert check.right()
    assert check.offset == timedelta(seconds=offset)


@pytest.mark.parametrize(("offset", "words"), [(5.1, "5.1 s ahead of"), (-7, "7.0 s behind")])
def test_a_clock_beyond_the_tolerance_is_not_right_and_says_so(
    offset: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    check = ClockCheck(FakeClock(after(offset)), TOLERANCE)
    check.compare(NOON, timedelta())
    check.compare(NOON, timedelta())
    assert not check.right()
    [record] = caplog.records
    assert words in record.message
    check.compare(after(offset), timedelta())
    assert check.right()
    assert "is right again" in caplog.records[1].message


def test_what_the_round_trip_leaves_open_is_allowed_for() -> None:
    check = ClockCheck(FakeClock(after(9)), TOLERANCE)
    check.compare(NOON, timedelta(seconds=8))
    assert check.offset == timedelta(seconds=5)
    assert check.right()
    check.compare(NOON, timedelta(seconds=3.9))
    assert not check.right()


@pytest.mark.parametrize("step", [-1.1, 1.1, 3600])
async def test_a_clock_that_was_set_is_not_right_until_the_database_was_asked(step: float) -> None:
    clock = FakeClock()
    check = ClockCheck(clock, TOLERANCE)
    check.compare(NOON, timedelta())
    await clock.step(step)
    assert not check.right()
    check.compare(clock.now(), timedelta())
    assert check.right()


async def test_a_scheduler_whose_clock_is_wrong_claims_nothing_and_the_others_do_its_share(
    world: World,
) -> None:
    for number in range(40):
        await world.create(at=after(10 + number / 10))
    wrong = ClockAhead(world.clock, timedelta(seconds=8))
    async with (
        world.scheduler("wrong", clock=wrong, follower=FakeFollower(world.log)),
        world.scheduler("right"),
    ):
        await world.clock.reach(after(20))
        pulse = world.nodes.pulses["wrong"]
        assert (pulse.claims, pulse.clock_right, pulse.clock_offset_ms) == (False, False, 8_000)
        assert 8.0 in world.observed.offsets
    assert {fact.node for fact in world.facts(ExecutionStarted)} == {"right"}
    assert [call.at for call in world.calls] == [after(10 + number / 10) for number in range(40)]


async def test_it_goes_on_when_its_clock_is_right_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.caller.answers(503)
    await world.create(at=after(5))
    await world.create(at=after(12))
    machine = ClockAhead(world.clock, timedelta())
    async with world.scheduler(clock=machine):
        await world.clock.reach(after(5.5))
        machine.ahead = timedelta(seconds=60)
        await world.clock.reach(after(20))
        assert [call.at for call in world.calls] == [after(5)]  # neither the retry nor the other task
        assert world.facts(AttemptStarted) == []
        machine.ahead = timedelta()
        await world.clock.reach(after(22))
    assert len(world.calls) == 3
    assert "60.0 s ahead of" in caplog.text


async def test_two_schedulers_with_clocks_seconds_apart_start_nothing_twice(world: World) -> None:
    for number in range(40):
        await world.create(at=after(10 + number / 10))
    ahead = ClockAhead(world.clock, timedelta(seconds=4))
    async with (
        world.scheduler("ahead", clock=ahead, follower=FakeFollower(world.log)),
        world.scheduler("behind"),
    ):
        await world.clock.reach(after(30))
    assert len(world.calls) == len({call.execution_id for call in world.calls}) == 40


@pytest.mark.parametrize("step", [-3600, -90, 90, 3600])
async def test_one_machine_that_is_set_wrong_and_right_again_repeats_and_loses_nothing(step: float) -> None:
    world = with_a_database_of_its_own_time()
    await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(150))
        await world.clock.step(step)
        await world.clock.pass_by(45)
        assert len(world.calls) == 2
        await world.clock.step(-step)
        await world.clock.reach(after(421))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [
        after(60 * minute) for minute in range(1, 8)
    ]
    assert world.facts(ExecutionSkipped) == []
    assert len(world.calls) == 7


async def test_when_all_clocks_leap_forward_each_occurrence_is_run_or_recorded_as_missed(
    world: World,
) -> None:
    await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(150))
        await world.clock.step(600)
        await world.clock.pass_by(60)
    started = {fact.occurrence.due_at for fact in world.facts(ExecutionStarted)}
    skipped = {fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)}
    assert started == {after(60 * minute) for minute in (1, 2, 12, 13)}
    assert skipped == {after(60 * minute) for minute in range(3, 12)}


async def test_when_all_clocks_go_back_nothing_is_run_again(world: World) -> None:
    await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(610))
        await world.clock.step(-300)
        await world.clock.reach(after(790))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [
        after(60 * minute) for minute in range(1, 14)
    ]
    assert world.facts(ExecutionSkipped) == []


async def test_what_a_leap_of_the_clock_made_overdue_starts_within_two_seconds(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What lies beyond the loaded window is not waited for by a timer that the leap did not move."""
    await world.create(at=after(1800), url="http://overdue/")
    await world.create(trigger=every(5), url="http://often/", catch_up=CatchUp(mode="skip"))
    async with world.scheduler():
        await world.clock.reach(after(3))
        await world.clock.step(3600)
        await world.create(at=after(3604), url="http://new/")
        await world.clock.reach(after(3612))
    called = {
        url: [call.at for call in world.calls if call.url == url]
        for url in ("http://overdue/", "http://new/")
    }
    assert [at <= after(3605) for at in called["http://overdue/"]] == [True]
    assert [at <= after(3606) for at in called["http://new/"]] == [True]
    assert [call.at for call in world.calls if call.url == "http://often/"][-2:] == [after(3605), after(3610)]
    assert "the clock was set by +3600.0 s" in caplog.text
