"""Claimed attempts in line: their leases, who gets the slots, how many may wait, what counts as one host."""

from __future__ import annotations

import errno
from collections import Counter
from datetime import timedelta
from itertools import count

import pytest

from application.ports import ResourcesExhausted
from application.scheduler.dispatcher import ConcurrencyLimit, Dispatcher, ReadyAttempt, target_host
from application.scheduler.jobs import Job
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
    assert [ready.job.send_at for ready in sent] == [after(0), after(1), after(2)]
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


class Sent:
    """Calls under way, by host, that a test ends; each attempt is due at once, after those before it."""

    def __init__(self, world: World, per_host: int, in_all: int) -> None:
        self.dispatcher = Dispatcher(world.clock, per_host, in_all)
        self.ready: list[ReadyAttempt] = []
        self.serial = count()
        self.world = world
        self.dispatcher.start(self.ready.append)

    async def due(self, host: str, times: int, priority: int = 5) -> None:
        claimed = executions.start(RUN, started(after(0)))
        for _ in range(times):
            action = definition(url=f"http://{host}/", priority=priority)
            self.dispatcher.add(Job(claimed, action, 1, after(next(self.serial) / 1e5 - 1)))
        await self.world.clock.settle()

    def end(self, host: str) -> None:
        ready = next(each for each in self.ready if each.host.name == f"http://{host}")
        self.ready.remove(ready)
        self.dispatcher.finished(ready)

    def hosts(self) -> dict[str, int]:
        return dict(Counter(each.host.name.removeprefix("http://") for each in self.ready))


async def test_the_last_tenth_of_the_slots_goes_to_hosts_that_leave_as_many_free() -> None:
    sent = Sent(World(), per_host=100, in_all=100)
    await sent.due("a", 500)
    assert sent.hosts() == {"a": 90}
    await sent.due("b", 500)
    assert sent.hosts() == {"a": 90, "b": 5}
    await sent.due("c", 500)
    await sent.due("d", 500)
    await sent.due("e", 500)
    assert sent.hosts() == {"a": 90, "b": 5, "c": 3, "d": 1, "e": 1}
    await sent.due("f", 500)
    assert "f" not in sent.hosts()
    sent.end("a")  # the next that ends, whosever it is
    assert sent.hosts() == {"a": 89, "b": 5, "c": 3, "d": 1, "e": 1, "f": 1}


async def test_hosts_that_want_all_slots_come_to_have_as_many_each() -> None:
    sent = Sent(World(), per_host=100, in_all=100)
    for host in "abc":
        await sent.due(host, 500)
    for _ in range(300):  # each call takes as long as any other
        sent.end(sent.ready[0].host.name.removeprefix("http://"))
    assert set(sent.hosts().values()) <= {30, 31}


async def test_a_host_alone_has_all_that_one_may_have() -> None:
    sent = Sent(World(), per_host=40, in_all=100)
    await sent.due("a", 500)
    await sent.due("b", 500)
    assert sent.hosts() == {"a": 40, "b": 40}


async def test_priority_goes_before_other_hosts_while_slots_are_free_and_behind_them_when_few_are() -> None:
    world = World()
    sent = Sent(world, per_host=100, in_all=40)
    sent.dispatcher.close()
    await sent.due("a", 60, priority=5)
    await sent.due("b", 30, priority=1)
    sent.dispatcher.start(sent.ready.append)
    assert [each.host.name for each in sent.ready[:30]] == ["http://b"] * 30
    assert sent.hosts() == {"b": 30, "a": 6}
    await sent.due("b", 30, priority=1)
    await sent.due("c", 30, priority=9)
    assert sent.hosts() == {"b": 30, "a": 6, "c": 2}, "the last tenth is for those that have few calls"


async def test_who_waits_for_a_slot_goes_by_turns_among_hosts_with_as_many_calls() -> None:
    sent = Sent(World(), per_host=1, in_all=1)
    for host, times in {"z": 1, "a": 3, "b": 3, "c": 3}.items():
        await sent.due(host, times)
    order: list[str] = []
    for _ in range(10):
        [name] = sent.hosts()
        order.append(name)
        sent.end(name)
    assert "".join(order) == "zabcabcabc"
    assert sent.dispatcher.unsent() == sent.dispatcher.under_way() == 0


async def test_lines_of_hosts_do_not_pile_up() -> None:
    sent = Sent(World(), per_host=50, in_all=100)
    await sent.due("a", 1_000)
    await sent.due("b", 1_000)
    for _ in range(900):
        sent.end("a")
    assert sum(map(len, sent.dispatcher._lines.values())) < 100


async def test_what_could_not_be_sent_keeps_its_place_and_nothing_else_is_tried_before_a_rest() -> None:
    world = World()
    sent = Sent(world, per_host=100, in_all=100)
    await sent.due("a", 60)
    first = sent.ready[0].job
    for ready in sent.ready[50:] + sent.ready[:5]:
        sent.ready.remove(ready)
        sent.dispatcher.send_again(ready, ResourcesExhausted(errno.EMFILE))
    assert (sent.hosts(), sent.dispatcher.unsent()) == ({"a": 45}, 15)
    await world.clock.pass_by(0.5)  # nine tenths are kept, and then a few more are tried
    assert sent.hosts() == {"a": 45}
    await world.clock.pass_by(4)
    assert 45 < len(sent.ready) < 60
    assert sent.ready[45].job is first
    await world.clock.pass_by(30)
    assert sent.hosts() == {"a": 60}


async def test_a_host_without_ports_gets_fewer_calls_and_others_as_many_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    sent = Sent(world, per_host=50, in_all=100)
    await sent.due("a", 50)
    for ready in sent.ready[10:]:
        sent.ready.remove(ready)
        sent.dispatcher.send_again(ready, ResourcesExhausted(errno.EADDRNOTAVAIL))
    await sent.due("b", 40)
    assert sent.hosts() == {"a": 10, "b": 40}
    [told] = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "http://a" in told.message
    assert "ip_local_port_range" in told.message
    await world.clock.pass_by(60)
    assert sent.hosts() == {"a": 50, "b": 40}


@pytest.mark.parametrize("most", [1, 10, 4_000])
def test_a_lowered_limit_rises_to_one_within_a_second_and_to_all_within_half_a_minute(most: int) -> None:
    limit = ConcurrencyLimit(most)
    rests: list[int] = []
    for _ in range(6):
        limit.lower(0)
        limit.lower(0)
        rests.append(0)
        while limit.now < 1:
            rests[-1] += 1
            limit.rise()
    assert rests == [1, 2, 4, 8, 10, 10]
    assert sum(not limit.rise() for _ in range(400)) <= 300
    assert limit.now == most
