"""How long reaching a host may take, and whether a failed request can have reached it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import StoppedClock, answered, failure, get, making, onward, outcome, unanswered
from tests.support.certificates import self_signed
from tests.support.exchanging import called
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from application.ports import HttpCaller


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        yield http_caller


@pytest.fixture
def full() -> Iterator[int]:
    """A port that takes no more connections: its queue of those that nobody accepts is full."""
    with contextlib.ExitStack() as sockets:
        server = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(10):
            client = sockets.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(server.getsockname())
            except TimeoutError:
                yield server.getsockname()[1]
                return
        pytest.skip("this system queues connections that nobody accepts")


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def endless_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are looked up for ever."""

    async def getaddrinfo(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def too_slow(place: str) -> str:
    advice = "raise action.connect_timeout_seconds, or see why the host is slow to reach"
    return f"no connection to {place} within 0.2 s; {advice}"


async def test_the_connect_timeout_bounds_the_connection(caller: HttpCaller, full: int) -> None:
    failed = await failure(caller, f"http://127.0.0.1:{full}/", connect_timeout_seconds=0.2)
    assert (failed.error, failed.sent) == (too_slow(f"127.0.0.1:{full}"), False)


async def test_the_connect_timeout_bounds_the_tls_handshake(caller: HttpCaller, silent: int) -> None:
    failed = await failure(caller, f"https://127.0.0.1:{silent}/", connect_timeout_seconds=0.2)
    assert (failed.error, failed.sent) == (too_slow(f"127.0.0.1:{silent}"), False)


@pytest.mark.usefixtures("endless_lookup")
async def test_the_connect_timeout_bounds_the_name_lookup(caller: HttpCaller) -> None:
    failed = await failure(caller, "http://name.test/", connect_timeout_seconds=0.2)
    assert (failed.error, failed.sent) == (too_slow("name.test"), False)


async def test_the_connect_timeout_ends_with_the_connection(caller: HttpCaller, receiver: Receiver) -> None:
    action = get(receiver.url("/slow/1.2"), connect_timeout_seconds=1)
    assert answered(await called(caller, making(action))).status_code == 200


async def test_the_connect_timeout_does_not_run_while_the_limits_are_reached(receiver: Receiver) -> None:
    async with AiohttpCaller(clock=StoppedClock(), max_per_host=1) as caller:
        holding = asyncio.create_task(outcome(caller, receiver.url("/hang")))
        await receiver.wait_for(1)
        failed = await failure(caller, receiver.url("/ok"), timeout=0.4, connect_timeout_seconds=0.1)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
    assert failed.error.startswith("no complete answer within 0.4 s (waiting for a free connection")
    assert not failed.sent


async def test_the_connect_timeout_holds_for_every_hop(
    caller: HttpCaller, receiver: Receiver, silent: int
) -> None:
    place = f"https://127.0.0.1:{silent}/"
    url = onward(receiver, 307, place)
    failed = await failure(caller, url, max_redirects=1, connect_timeout_seconds=0.2)
    assert failed.error == f"{too_slow(f'127.0.0.1:{silent}')} (after 1 redirect)"
    assert failed.sent


async def test_the_total_timeout_is_the_first_to_end_when_it_is_shorter(
    caller: HttpCaller, silent: int
) -> None:
    failed = await failure(
        caller, f"https://127.0.0.1:{silent}/", timeout=0.2, connect_timeout_seconds=0.2 + 30
    )
    assert failed.error == (
        "no complete answer within 0.2 s (waiting for the connection (name lookup and handshakes))"
    )
    assert not failed.sent


async def test_a_refused_connection_has_sent_nothing(caller: HttpCaller) -> None:
    assert not (await failure(caller, "http://127.0.0.1:1/")).sent


async def test_a_name_that_does_not_resolve_has_sent_nothing(
    caller: HttpCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", unknown)
    assert not (await failure(caller, "http://nowhere.test/")).sent


async def test_a_certificate_that_is_refused_has_been_sent_nothing(
    caller: HttpCaller, tmp_path: Path
) -> None:
    async with Receiver(tls=self_signed(tmp_path).server) as server:
        assert not (await failure(caller, server.url("/ok"))).sent
        assert server.calls == []


async def test_a_port_without_tls_has_been_sent_nothing(caller: HttpCaller) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert not (await failure(caller, url)).sent


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://127.1:8000/"},
        {"url": "nowhere"},
        {"headers": {"two words": "x"}},
        {"payload": object()},
    ],
)
async def test_what_cannot_be_sent_has_not_been_sent(
    caller: HttpCaller, receiver: Receiver, fields: dict[str, Any]
) -> None:
    action = get(**{"url": receiver.url("/ok")} | fields)
    failed = unanswered(await called(caller, making(action)))
    assert (failed.sent, failed.retryable) == (False, False)
    assert receiver.calls == []


@pytest.mark.parametrize(
    "path", ["/close", "/reset", "/torn", "/garbage", "/half-close", "/chunked-bad", "/hang", "/stall"]
)
async def test_what_was_handed_to_a_connection_counts_as_sent(
    caller: HttpCaller, receiver: Receiver, path: str
) -> None:
    assert (await failure(caller, receiver.url(path), timeout=1)).sent
    assert len(receiver.calls) == 1


async def test_a_request_stays_sent_when_its_repetition_finds_no_connection(caller: HttpCaller) -> None:
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            if answer is None:
                server.close()
            else:
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    await outcome(caller, url)
    failed = await failure(caller, url)
    assert failed.error.endswith("connection refused")
    assert failed.sent
    assert len(requests) == 2
