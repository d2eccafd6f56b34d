"""Claimed attempts in line: their leases, how many they may be, and what counts as one host."""

from __future__ import annotations

from datetime import timedelta

import pytest

from application.scheduler.context import Job
from application.scheduler.dispatcher import Dispatcher, ReadyAttempt, target_host
from application.scheduler.timing import NEAR
from domain import execution as executions
from domain.facts import AttemptStarted, ExecutionFailed, ExecutionStarted, ExecutionTakenOver
from tests.support.full_hosts import QUICK, SLOW, a_world, calls
from tests.support.given import RUN, after, definition, started
from tests.support.scheduler import World


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("concurrency", [1, 20])
async def test_no_lease_of_what_waits_lapses(delivery: str, concurrency: int) -> None:
    world = World()
    world.caller.takes_at[SLOW] = timedelta(seconds=9)
    for _ in range(40):
        await world.create(at=after(10), url=SLOW, delivery=delivery)
    first, second = (world.scheduler(name, concurrency=concurrency, per_host=1) for name in ("a", "b"))
    async with first, second:
        await world.clock.reach(after(400))
    assert not world.facts(ExecutionTakenOver)
    assert not world.facts(ExecutionFailed)
    assert world.facts(AttemptStarted), "no claim has waited for long enough"
    assert len({call.execution_id for call in world.calls}) == len(world.calls) == 40
    assert {call.number for call in world.calls} == {1}


async def test_a_lease_that_cannot_be_renewed_is_left_to_others(caplog: pytest.LogCaptureFixture) -> None:
    world = a_world()
    world.caller.takes_at[SLOW] = timedelta(seconds=9)
    for _ in range(10):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_host=1):
        await world.clock.reach(after(60))
        world.log.poison = AttemptStarted
        await world.clock.reach(after(75))
        world.log.poison = None
        await world.clock.reach(after(400))
    assert "renewing the lease of execution" in caplog.text
    assert len({call.execution_id for call in world.calls}) == 10


async def test_who_is_withdrawn_keeps_its_place_and_makes_no_room_until_it_is_let_go() -> None:
    world = World()
    dispatcher = Dispatcher(world.clock, per_host=1, in_all=3)
    for number in range(3):
        claimed = executions.start(RUN, started(after(number)))
        dispatcher.add(Job(claimed, definition(url=SLOW), 1, after(number)))
    await world.clock.reach(after(5))
    site, room = target_host(SLOW), dispatcher.room(target_host(SLOW))
    withdrawn = dispatcher.withdraw(lambda job: job.send_at < after(2))
    assert [job.send_at for _, job in withdrawn] == [after(0), after(1)]
    assert (dispatcher.unsent(), dispatcher.room(site)) == (3, room)
    for place, job in withdrawn:
        dispatcher.add(job)
        dispatcher.let_go(place)
    await world.clock.settle()
    assert (dispatcher.unsent(), dispatcher.room(site)) == (3, room)
    sent: list[ReadyAttempt] = []
    dispatcher.start(sent.append)
    for number in range(3):
        dispatcher.finished(sent[number])
    assert [ready.job.send_at for ready in sent] == [
        after(2),
        after(0),
        after(1),
    ]  # the last got the room meanwhile
    assert dispatcher.unsent() == dispatcher.under_way() == 0


async def test_nothing_is_sent_before_it_starts_and_after_it_is_closed() -> None:
    world = World()
    dispatcher = Dispatcher(world.clock, per_host=3, in_all=3)
    sent: list[ReadyAttempt] = []
    for number in (1, 5):
        dispatcher.add(
            Job(executions.start(RUN, started(after(number))), definition(url=SLOW), 1, after(number))
        )
    await world.clock.reach(after(2))
    assert (sent, dispatcher.under_way()) == ([], 0)
    dispatcher.start(sent.append)
    assert [ready.job.send_at for ready in sent] == [after(1)]
    dispatcher.close()
    await world.clock.reach(after(6))
    assert (len(sent), dispatcher.unsent()) == (1, 1)


async def test_how_much_waits_for_full_hosts_is_told() -> None:
    world = a_world()
    for _ in range(5):
        await world.create(at=after(10), url=SLOW)
    async with world.scheduler(per_host=2):
        await world.clock.reach(after(12))
        assert world.observed.held[-1] == 3
        await world.clock.reach(after(200))
        assert world.observed.held[-1] == 0


async def test_only_what_is_held_back_beyond_all_bounds_takes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.dispatcher.MAX_HELD", 2)
    world = World()
    dispatcher = Dispatcher(world.clock, per_host=1, in_all=3)
    claimed = executions.start(RUN, started(after(0)))
    for number in range(5):
        dispatcher.add(Job(claimed, definition(url=SLOW), 1, after(number)))
    await world.clock.reach(after(10))
    sent: list[ReadyAttempt] = []
    dispatcher.start(sent.append)
    assert (len(sent), dispatcher.unsent(), dispatcher.waiting()) == (1, 4, 2)


async def test_many_full_hosts_hold_back_few_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.timing.LEAST", NEAR)
    monkeypatch.setattr("application.scheduler.dispatcher.MAX_HELD", 40)
    monkeypatch.setattr("application.scheduler.dispatcher.MOST_WAITING", 10)
    monkeypatch.setattr("application.scheduler.dispatcher.MOST_WAITING", 10)
    world = World()
    for number in range(12):
        url = f"http://slow-{number}.test/"
        world.caller.takes_at[url] = timedelta(seconds=30)
        for _ in range(20):
            await world.create(at=after(10 + number), url=url)
    await world.create(at=after(30), url=QUICK)
    async with world.scheduler(concurrency=20, per_host=1):
        await world.clock.reach(after(31))
        assert calls(world, QUICK) == [30]
        assert len(world.facts(ExecutionStarted)) < 60


@pytest.mark.parametrize(
    "url",
    [
        "http://a.test:8080",
        "http://a.test:8080/",
        "http://A.test:8080/path/of?query=http://b.test/",
        "http://a.test:8080?query",
    ],
)
def test_a_site_is_scheme_host_and_port(url: str) -> None:
    assert target_host(url) == "http://a.test:8080"


def test_other_schemes_and_ports_are_other_sites() -> None:
    assert (
        len({target_host(url) for url in ("http://a/x", "https://a/x", "http://a:81/x", "http://b/x")}) == 4
    )
