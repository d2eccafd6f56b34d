"""How connections are made, kept, limited and lost, and that no request is sent twice in secret."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from domain.facts import Answered
from infrastructure.http_caller import transport
from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import StoppedClock, failure, onward, outcome, until
from tests.support.certificates import Identity, self_signed
from tests.support.misbehaviour import Crowd, Exchange
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import HttpCaller

MIB = 1024 * 1024


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        yield http_caller


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("path", ["/close", "/reset", "/torn"])
async def test_a_request_that_may_have_been_received_is_not_repeated(
    caller: AiohttpCaller, receiver: Receiver, path: str, method: str
) -> None:
    await failure(caller, receiver.url(path), method=method, payload={"a": 1})
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_died_while_idle_fails_no_attempt(
    caller: AiohttpCaller, receiver: Receiver, method: str
) -> None:
    for number in range(1, 6):
        answer = await outcome(caller, receiver.url("/stale"), method=method, payload=[number])
        assert isinstance(answer, Answered)
    assert [call.body for call in receiver.calls] == ["[1]", "[2]", "[3]", "[4]", "[5]"]


async def test_a_request_is_repeated_once_at_most_and_with_the_same_marks(
    caller: AiohttpCaller, receiver: Receiver
) -> None:
    await outcome(caller, receiver.url("/ok"))
    await failure(caller, receiver.url("/close"), method="POST", payload={})
    first, second = receiver.calls_to("/close")
    assert (first.connection, second.connection) == (1, 2)
    for mark in ("idempotency-key", "x-chronoledger-attempt"):
        assert first.headers[mark] == second.headers[mark]


async def test_a_request_is_repeated_on_a_new_connection_not_on_another_idle_one(
    caller: AiohttpCaller, receiver: Receiver
) -> None:
    await asyncio.gather(*(outcome(caller, receiver.url("/stale")) for _ in range(3)))
    assert isinstance(await outcome(caller, receiver.url("/ok")), Answered)
    assert [call.connection for call in receiver.calls] == [1, 2, 3, 4]


@pytest.mark.parametrize("path", ["/torn", "/torn-by-reset", "/hinted"])
async def test_an_answer_that_began_is_never_followed_by_a_repetition(
    caller: AiohttpCaller, receiver: Receiver, path: str
) -> None:
    await outcome(caller, receiver.url("/ok"))
    await failure(caller, receiver.url(path))
    assert [call.connection for call in receiver.calls] == [1, 1]


async def test_connections_are_reused(caller: AiohttpCaller, receiver: Receiver) -> None:
    for _ in range(5):
        await outcome(caller, receiver.url("/ok"))
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "words", [b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked", b"HTTP/1.1 2", b"?"]
)
async def test_what_a_server_says_unasked_answers_no_later_request(
    caller: AiohttpCaller, words: bytes
) -> None:
    idle, said = asyncio.Event(), asyncio.Event()

    async def talkative(exchange: Exchange) -> bool:
        await exchange.answer(200)
        await idle.wait()
        await exchange.send(words)
        said.set()
        return True

    async with Receiver(scripts={"talkative": talkative}) as receiver:
        await outcome(caller, receiver.url("/talkative"))
        idle.set()
        await said.wait()
        for _ in range(10):  # rounds of the loop, in which the idle connection reads
            await asyncio.sleep(0)
        answer = await outcome(caller, receiver.url("/ok"))
    assert isinstance(answer, Answered)
    assert answer.body == '{"ok":true}'
    assert [call.connection for call in receiver.calls] == [1, 2]


async def test_a_connection_with_something_left_to_send_serves_no_other_request(
    caller: AiohttpCaller,
) -> None:
    lines: list[bytes] = []
    kept: list[asyncio.StreamWriter] = []

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        kept.append(writer)

    async with await asyncio.start_server(hasty, "127.0.0.1", 0, limit=2048) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for _ in range(2):
            answer = await outcome(caller, url, method="POST", payload="x" * 20 * MIB)
            assert isinstance(answer, Answered)
            assert answer.status_code == 413
        assert lines == [b"POST / HTTP/1.1\r\n"] * 2
        for writer in kept:
            writer.close()


async def test_a_large_request_over_tls_leaves_no_connection_to_others(
    localhost: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(localhost.certificate))
    async with Receiver(tls=localhost.server) as server, AiohttpCaller(clock=StoppedClock()) as caller:
        for size in (1, 1, MIB, 1):
            place = f"https://localhost:{server.port}/ok"
            assert isinstance(await outcome(caller, place, method="POST", payload="x" * size), Answered)
    assert [call.connection for call in server.calls] == [1, 1, 1, 2]


async def test_a_slow_host_leaves_room_for_others(receiver: Receiver) -> None:
    async with (
        Receiver() as other,
        AiohttpCaller(clock=StoppedClock(), max_concurrency=4, max_per_host=2) as caller,
    ):
        holding = [asyncio.create_task(outcome(caller, receiver.url("/hang"))) for _ in range(2)]
        await receiver.wait_for(2)
        waiting = [failure(caller, receiver.url("/hang"), timeout=0.3) for _ in range(4)]
        failures, answer = await asyncio.gather(asyncio.gather(*waiting), outcome(caller, other.url("/ok")))
        assert isinstance(answer, Answered)
        for failed in failures:
            assert "within 0.3 s (waiting for a free connection: too many calls are under way" in failed.error
        assert len(receiver.calls) == 2
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)


async def test_no_more_calls_are_on_the_wire_than_allowed() -> None:
    crowd = Crowd()
    async with (
        Receiver(scripts={"count": crowd.answer}) as one,
        Receiver(scripts={"count": crowd.answer}) as two,
        AiohttpCaller(clock=StoppedClock(), max_concurrency=3, max_per_host=2) as caller,
    ):
        urls = [one.url("/count"), two.url("/count")] * 6
        answers = await asyncio.gather(*(outcome(caller, url) for url in urls))
    assert all(isinstance(answer, Answered) for answer in answers)
    assert crowd.most == 3


async def test_a_refused_connection_says_so(caller: AiohttpCaller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    error = (await failure(caller, f"http://127.0.0.1:{port}/")).error
    assert error == f"cannot connect to 127.0.0.1:{port}: connection refused"


async def test_a_name_that_does_not_resolve_says_so(
    caller: AiohttpCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    error = (await failure(caller, "http://nowhere.test:8080/path?token=x")).error
    assert error == "the host name nowhere.test cannot be resolved"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux's")
async def test_a_server_that_reads_nothing_keeps_no_socket_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "UNSENT_GIVEN_UP_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        async with AiohttpCaller(clock=StoppedClock()) as caller:
            before = len(os.listdir("/proc/self/fd"))
            await failure(caller, url, timeout=0.5, method="POST", payload="x" * 20 * MIB)
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.fixture
def localhost(tmp_path: Path) -> Identity:
    return self_signed(tmp_path)


async def test_tls_certificates_are_verified(localhost: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver(tls=localhost.server) as server:
        named = server.url("/ok").replace("127.0.0.1", "localhost")
        async with AiohttpCaller(clock=StoppedClock()) as caller:
            error = (await failure(caller, named)).error
            assert error.startswith(
                f"the TLS certificate of localhost:{server.port} is not valid: self-signed"
            )
        monkeypatch.setenv("SSL_CERT_FILE", str(localhost.certificate))
        async with AiohttpCaller(clock=StoppedClock()) as caller:
            assert isinstance(await outcome(caller, named), Answered)
            assert "mismatch" in (await failure(caller, server.url("/ok"))).error
        assert [call.path for call in server.calls] == ["/ok"]


@pytest.mark.parametrize("outward", [True, False])
async def test_credentials_do_not_pass_between_https_and_http(
    localhost: Identity, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *, outward: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(localhost.certificate))
    secrets = {"Authorization": "Bearer secret", "Cookie": "secret=1"}
    async with Receiver(tls=localhost.server) as secure, AiohttpCaller(clock=StoppedClock()) as caller:
        first, last = (secure, receiver) if outward else (receiver, secure)
        place = last.url("/echo").replace("127.0.0.1", "localhost")
        url = onward(first, 307, place).replace("127.0.0.1", "localhost")
        answer = await outcome(caller, url, max_redirects=1, headers=secrets)
        assert isinstance(answer, Answered)
    assert "secret" not in str(last.calls[0].headers)
    assert "secret=1" in str(first.calls[0].headers)


async def test_a_port_that_speaks_no_tls_says_so(caller: AiohttpCaller) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = (await failure(caller, f"https://127.0.0.1:{port}/")).error
    assert error == f"no TLS connection to 127.0.0.1:{port}: wrong version number"
