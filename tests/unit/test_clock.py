import asyncio
import gc
import os
import random
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop

from infrastructure import clock as clock_module
from infrastructure.clock import SystemClock

type Run = Callable[[Coroutine[None, None, None]], None]

NEVER = datetime(9999, 12, 31, tzinfo=UTC)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs to the end within a deadline that says nothing about punctuality."""
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]

    def run_with_deadline(main: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(main, 30))

    return run_with_deadline


@pytest.fixture(params=["best alarm", "loop alarm"])
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SystemClock:
    """With what this Python has, and with what every Python has."""
    if request.param == "loop alarm":
        monkeypatch.setattr(clock_module, "_new_alarm", clock_module._LoopAlarm)
    return SystemClock()


def sleepers(clock: SystemClock) -> int:
    return sum(len(on_loop._heap) for on_loop in clock._sleepers.values())


def test_now_is_utc(clock: SystemClock) -> None:
    assert clock.now().tzinfo is UTC
    assert abs(clock.now().timestamp() - time.time()) < 60


def test_nobody_wakes_early_and_all_wake(clock: SystemClock, run: Run) -> None:
    async def sleep(instant: datetime) -> None:
        await clock.sleep_until(instant)
        assert clock.now() >= instant

    async def main() -> None:
        start = clock.now()
        offsets = [random.uniform(-0.01, 0.1) for _ in range(200)]
        await asyncio.gather(*(sleep(start + timedelta(seconds=offset)) for offset in offsets))
        for _ in range(20):
            await sleep(clock.now() + timedelta(microseconds=random.randrange(3_000)))

    run(main())
    assert sleepers(clock) == 0


def test_the_first_to_be_due_wakes_first_whoever_came_first(clock: SystemClock, run: Run) -> None:
    woken: list[int] = []

    async def sleep(instant: datetime, number: int) -> None:
        await clock.sleep_until(instant)
        woken.append(number)

    async def main() -> None:
        start = clock.now() + timedelta(milliseconds=100)
        numbers = list(range(20))
        random.shuffle(numbers)
        await asyncio.gather(
            *(sleep(start + timedelta(microseconds=number // 2), number // 2) for number in numbers)
        )

    run(main())
    assert woken == sorted(woken)
    assert len(woken) == 20


def test_a_new_sleeper_who_is_due_sooner_does_not_wait_for_the_others(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        late = asyncio.ensure_future(clock.sleep_until(clock.now() + timedelta(hours=1)))
        await asyncio.sleep(0)
        await clock.sleep_until(clock.now() + timedelta(milliseconds=20))
        assert not late.done()
        late.cancel()

    run(main())


def test_cancelled_sleepers_are_forgotten_and_the_others_still_wake(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        instant = clock.now() + timedelta(milliseconds=50)
        others = [asyncio.ensure_future(clock.sleep_until(instant)) for _ in range(3)]
        first = [
            asyncio.ensure_future(clock.sleep_until(instant - timedelta(milliseconds=n)))
            for n in range(1, 40)
        ]
        last: list[asyncio.Future[None]] = []
        for _ in range(10_000):
            last.append(asyncio.ensure_future(clock.sleep_until(NEVER)))
            last[-1].cancel()
        for task in first:
            task.cancel()
        results = await asyncio.gather(*first, *last, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert sleepers(clock) < 200
        await asyncio.gather(*others)
        assert clock.now() >= instant

    run(main())


def test_cancelling_one_who_was_just_woken_harms_nobody(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        instant = clock.now() + timedelta(milliseconds=20)
        tasks: list[asyncio.Task[None]] = []

        async def sleep_and_cancel_the_others() -> None:
            await clock.sleep_until(instant)
            for task in tasks[1:]:
                task.cancel()

        tasks.append(asyncio.create_task(sleep_and_cancel_the_others()))
        tasks.extend(asyncio.ensure_future(clock.sleep_until(instant)) for _ in range(5))
        await asyncio.gather(*tasks, return_exceptions=True)
        await clock.sleep_until(clock.now() + timedelta(milliseconds=5))

    run(main())
    assert sleepers(clock) == 0


def test_what_is_to_be_called_at_an_instant_is_called_then_and_once(clock: SystemClock, run: Run) -> None:
    called: list[datetime] = []

    async def main() -> None:
        instant = clock.now() + timedelta(milliseconds=20)
        handle = clock.call_at(instant, lambda: called.append(clock.now()))
        clock.call_at(clock.now() - timedelta(seconds=1), lambda: called.append(clock.now()))
        assert called == []  # not within the call itself, however late it is
        await clock.sleep_until(instant + timedelta(milliseconds=5))
        handle.cancel()
        assert len(called) == 2
        assert called[1] >= instant

    run(main())
    assert sleepers(clock) == 0


def test_what_is_cancelled_is_not_called(clock: SystemClock, run: Run) -> None:
    called: list[str] = []

    async def main() -> None:
        soon = clock.now() + timedelta(milliseconds=10)
        for instant in (soon, clock.now() - timedelta(seconds=1)):
            handle = clock.call_at(instant, lambda: called.append("called"))
            handle.cancel()
            handle.cancel()
        await clock.sleep_until(soon + timedelta(milliseconds=5))

    run(main())
    assert called == []


def test_who_is_called_may_wait_for_the_next_instant(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        over = asyncio.Event()
        instants = [clock.now() + timedelta(milliseconds=5 * number) for number in range(1, 6)]

        def call() -> None:
            assert clock.now() >= instants.pop(0)
            if instants:
                clock.call_at(instants[0], call)
            else:
                over.set()

        clock.call_at(instants[0], call)
        await over.wait()

    run(main())


def test_an_error_of_who_is_called_keeps_nobody_asleep(clock: SystemClock, run: Run) -> None:
    heard: list[str] = []

    def fail() -> None:
        raise RuntimeError("a bug")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: heard.append(str(context.get("exception")))
        )
        soon = clock.now() + timedelta(milliseconds=10)
        clock.call_at(soon, fail)
        await clock.sleep_until(soon)
        await clock.sleep_until(clock.now() + timedelta(milliseconds=5))

    run(main())
    assert heard == ["a bug"]


def test_one_who_is_always_late_starves_nobody(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        turn = asyncio.Event()
        asyncio.get_running_loop().call_soon(turn.set)
        while not turn.is_set():
            await clock.sleep_until(clock.now() - timedelta(seconds=1))

    run(main())


def test_the_end_of_the_calendar_can_be_waited_for(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(clock.sleep_until(NEVER))
        await clock.sleep_until(clock.now() + timedelta(milliseconds=20))
        assert not task.done()
        task.cancel()

    run(main())


def test_an_instant_without_a_zone_is_refused(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="offset-naive"):
            await clock.sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake itself

    run(main())


def test_without_a_timerfd_a_clock_that_is_set_forward_is_noticed(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(clock_module, "_new_alarm", clock_module._LoopAlarm)
    monkeypatch.setattr(clock_module, "_LOOK_NS", 10_000_000)
    real, ahead_ns = time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead_ns)
    clock = SystemClock()

    async def main() -> None:
        nonlocal ahead_ns
        task = asyncio.ensure_future(clock.sleep_until(clock.now() + timedelta(hours=1)))
        await asyncio.sleep(0.05)
        assert not task.done()
        ahead_ns = 2 * 3_600 * 10**9
        await task

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="counts files under /proc")
def test_no_file_stays_open_when_its_loop_is_gone(clock: SystemClock, run: Run) -> None:
    async def main() -> None:
        await clock.sleep_until(clock.now() + timedelta(milliseconds=1))

    def open_files() -> list[str]:
        gc.collect()
        files = Path("/proc/self/fd")
        return sorted(link for fd in files.iterdir() if "timerfd" in (link := _target(fd)))

    before = open_files()
    for _ in range(3):
        run(main())
    assert open_files() == before


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # the directory's own descriptor
        return ""


async def test_a_pause_lasts_as_long_as_was_asked_for() -> None:
    clock = SystemClock()
    began = clock.steady()
    await clock.pause(timedelta(milliseconds=20))
    assert timedelta(milliseconds=19) <= clock.steady() - began < timedelta(seconds=5)


async def test_a_pause_that_is_over_already_gives_the_others_their_turn() -> None:
    clock, turns = SystemClock(), []

    async def other() -> None:
        turns.append("taken")

    waiting = asyncio.create_task(other())
    await clock.pause(timedelta(seconds=-1))
    assert turns == ["taken"]
    await waiting
