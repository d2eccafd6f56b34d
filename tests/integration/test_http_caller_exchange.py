"""An attempt on an idle connection takes no task, comes to the same as any other, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from domain.facts import Answered, Unanswered
from infrastructure.http_caller.caller import AiohttpCaller
from infrastructure.http_caller.deadlines import Deadline, Deadlines
from infrastructure.http_caller.outgoing import Outgoing
from tests.support.attempts import EXECUTION, StoppedClock, answered, get, making, outcome, post, until
from tests.support.exchanging import called
from tests.support.misbehaviour import SCRIPTS, Exchange, Script
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import Call

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nnot a body"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
SHORT = 0.3
NEVER = {"/hang", "/stall", "/slow/5"}


async def switching(exchange: Exchange) -> bool:
    await exchange.send(SWITCHING)
    await exchange.wait_until_gone()
    return False


async def bare_switching(exchange: Exchange) -> bool:
    await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\nnot a body")
    await exchange.wait_until_gone()
    return False


async def hinting(exchange: Exchange) -> bool:
    await exchange.send(HINTS)
    await asyncio.sleep(0.01)
    await exchange.answer(200)
    return True


async def piecemeal(exchange: Exchange) -> bool:
    body = [] if exchange.call.method == "HEAD" else [b"ab", b"cd"]
    for piece in (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\n", *body):
        await exchange.send(piece)
        await asyncio.sleep(0.01)
    return True


async def below(exchange: Exchange) -> bool:
    await exchange.send(b"HTTP/1.1 099 What\r\nContent-Length: 0\r\n\r\n")
    return True


OURS: dict[str, Script] = {
    "switching": switching,
    "bare-switching": bare_switching,
    "hinting": hinting,
    "piecemeal": piecemeal,
    "below": below,
}
PATHS = [
    *(f"/{name}" for name in SCRIPTS.keys() - {"slow", "status", "redirect", "onward", "flaky", "stale"}),
    *(f"/{name}" for name in OURS),
    *("/slow/0.01", "/slow/5", "/status/204", "/status/503", "/redirect"),
]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(scripts=OURS) as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[AiohttpCaller]:
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        yield http_caller


async def warm(caller: AiohttpCaller, receiver: Receiver) -> None:
    """Have it keep an idle connection."""
    await outcome(caller, receiver.url("/ok"))


@pytest.mark.parametrize("fields", [{}, {"max_redirects": 2}, {"method": "HEAD"}], ids=str)
@pytest.mark.parametrize("path", sorted(PATHS))
async def test_it_comes_to_the_same_on_an_idle_connection_as_on_a_new_one(
    receiver: Receiver, path: str, fields: dict[str, Any]
) -> None:
    async with AiohttpCaller(clock=StoppedClock()) as first, AiohttpCaller(clock=StoppedClock()) as second:
        asked = fields | ({"timeout": SHORT} if path in NEVER else {})
        new = await outcome(first, receiver.url(path), **asked)
        await warm(second, receiver)
        idle = await outcome(second, receiver.url(path), **asked)
        if isinstance(new, Answered) and path in ("/ok", "/echo"):
            assert isinstance(idle, Answered)
            assert idle.status_code == new.status_code
        else:
            assert idle == new
        # Whatever it left, the next one is answered.
        assert answered(await called(second, making(get(receiver.url("/ok"))))).status_code == 200


async def test_it_takes_no_task(caller: AiohttpCaller, receiver: Receiver) -> None:
    await warm(caller, receiver)
    exchange, over = caller.exchange(making(get(receiver.url("/ok")))), asyncio.Event()
    before = asyncio.all_tasks()
    exchange.begin(over.set)
    assert asyncio.all_tasks() == before
    await over.wait()
    attempt = exchange.attempt()
    assert attempt is not None
    assert answered(attempt).body == '{"ok":true}'


async def test_over_is_told_once_whatever_comes_after(caller: AiohttpCaller, receiver: Receiver) -> None:
    for path in ("/ok", "/ok", "/close", "/hang"):
        told: list[int] = []
        exchange = caller.exchange(making(get(receiver.url(path), timeout_seconds=SHORT)))
        exchange.begin(lambda told=told: told.append(1))  # type: ignore[misc]
        assert told == []
        await until(lambda told=told: bool(told))  # type: ignore[misc]
        attempt = exchange.attempt()
        exchange.cancel()
        await asyncio.sleep(SHORT)
        assert (told, exchange.attempt()) == ([1], attempt)


async def test_to_cancel_it_closes_its_connection_and_brings_nothing(
    caller: AiohttpCaller, receiver: Receiver
) -> None:
    await warm(caller, receiver)
    exchange, over = caller.exchange(making(get(receiver.url("/hang")))), asyncio.Event()
    exchange.cancel()  # too early
    exchange.begin(over.set)
    await receiver.wait_for(2)
    assert exchange.attempt() is None
    exchange.cancel()
    await over.wait()
    assert exchange.attempt() is None
    await until(lambda: receiver.open_connections == 0)


async def test_to_cancel_it_as_its_answer_comes_gives_its_room_back(receiver: Receiver) -> None:
    async with AiohttpCaller(clock=StoppedClock(), max_concurrency=1, max_per_host=1) as caller:
        for path in ("/redirect", "/switching", "/close", "/garbage"):
            await warm(caller, receiver)
            exchange = caller.exchange(making(get(receiver.url(path), max_redirects=3)))
            over = asyncio.Event()
            before = asyncio.all_tasks()
            exchange.begin(over.set)
            while asyncio.all_tasks() <= before and not over.is_set():  # until it needs a task
                await asyncio.sleep(0)
            exchange.cancel()
            await over.wait()
        await warm(caller, receiver)


async def test_to_cancel_it_while_its_redirect_is_followed_closes_that_connection(
    caller: AiohttpCaller, receiver: Receiver
) -> None:
    async def away(exchange: Exchange) -> bool:
        await exchange.answer(302, b"", f"Location: {receiver.url('/hang')}")
        return True

    async with Receiver(scripts={"away": away}) as first:
        await warm(caller, first)
        action = get(first.url("/away"), max_redirects=1)
        task = asyncio.create_task(called(caller, making(action)))
        await receiver.wait_for(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: receiver.open_connections == 0)


async def test_what_cannot_be_sent_says_so_though_nobody_asked_before(caller: AiohttpCaller) -> None:
    exchange, over = caller.exchange(making(get("http://x/ with a space"))), asyncio.Event()
    exchange.begin(over.set)
    assert not over.is_set()
    await over.wait()
    attempt = exchange.attempt()
    assert attempt is not None
    assert isinstance(attempt.answer, Unanswered)
    assert not attempt.answer.sent


async def test_what_takes_the_detour_halfway_has_only_the_rest_of_its_time(
    caller: AiohttpCaller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(exchange: Exchange) -> bool:
        await asyncio.sleep(SHORT)
        await exchange.answer(302, b"", f"Location: {receiver.url('/ok')}")
        return True

    given: list[float] = []
    within = Deadlines.within

    def noted(deadlines: Deadlines, seconds: float) -> Deadline:
        given.append(seconds)
        return within(deadlines, seconds)

    async with Receiver(scripts={"late": late}) as first:
        await warm(caller, first)
        monkeypatch.setattr(Deadlines, "within", noted)
        await called(caller, making(get(first.url("/late"), max_redirects=1, timeout_seconds=60)))
    assert len(given) == 1
    assert given[0] < 60 - SHORT / 2


async def test_an_answer_that_we_cannot_take_is_told_as_our_mistake(
    caller: AiohttpCaller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await warm(caller, receiver)
    monkeypatch.setattr("infrastructure.http_caller.exchange.answered", lambda *_: 1 / 0)
    attempt = await called(caller, making(get(receiver.url("/ok"))))
    assert attempt.answer == Unanswered(error="internal error: ZeroDivisionError", retryable=False, sent=True)


@pytest.mark.parametrize("size", [10, 20_000])
async def test_a_request_is_the_same_however_large_and_whenever_it_is_built(
    caller: AiohttpCaller, receiver: Receiver, size: int
) -> None:
    action = post(receiver.url("/echo"), "x" * size)
    exchanges = [caller.exchange(making(action, number)) for number in (1, 2)]
    for exchange in exchanges:
        over = asyncio.Event()
        exchange.begin(over.set)
        await over.wait()
    first, second = receiver.calls
    assert first.body == second.body == f'"{"x" * size}"'
    assert [call.headers["x-chronoledger-attempt"] for call in (first, second)] == ["1", "2"]


def requests_to(path: str) -> int:
    """How many requests there are in memory, of those that the garbage collector sees."""
    gc.collect()
    line = f"POST {path} ".encode()
    return sum(isinstance(one, Outgoing) and one.head.startswith(line) for one in gc.get_objects())


@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("large", [{"payload": "b" * 20_000}, {"payload": "", "x_large": "h" * 20_000}])
async def test_a_large_request_is_held_only_while_it_is_under_way(
    caller: AiohttpCaller, receiver: Receiver, large: dict[str, str], idle: bool
) -> None:
    if idle:
        await warm(caller, receiver)
    exchange, over = caller.exchange(making(post(receiver.url("/echo"), **large))), asyncio.Event()
    assert requests_to("/echo") == 0
    exchange.begin(over.set)
    assert requests_to("/echo") == 1
    await over.wait()
    assert exchange.attempt() is not None
    assert requests_to("/echo") == 0


@pytest.mark.parametrize("path", ["/ok", "/status/503", "/close", "/redirect"])
async def test_nothing_of_it_is_left_to_the_garbage_collector(
    caller: AiohttpCaller, receiver: Receiver, path: str
) -> None:
    class Job:
        """What a scheduler would tell of the end, and who refers to it."""

        def __init__(self, call: Call) -> None:
            self.exchange = caller.exchange(call)
            self.over = asyncio.Event()

        def ended(self) -> None:
            self.over.set()

    await warm(caller, receiver)
    gc.collect()
    gc.disable()
    try:
        job = Job(making(get(receiver.url(path)), execution_id=UUID(int=EXECUTION.int + 1)))
        job.exchange.begin(job.ended)
        await job.over.wait()
        await asyncio.sleep(0.01)
        gone = weakref.ref(job)
        del job
        assert gone() is None
    finally:
        gc.enable()


async def test_what_came_along_with_an_answer_costs_the_connection(caller: AiohttpCaller) -> None:
    async def talkative(exchange: Exchange) -> bool:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 3"
        )
        return True

    async with Receiver(scripts={"talkative": talkative}) as receiver:
        await warm(caller, receiver)
        for _ in range(3):
            assert answered(await called(caller, making(get(receiver.url("/talkative"))))).body == "ok"
        assert [call.connection for call in receiver.calls] == [1, 1, 2, 3]
