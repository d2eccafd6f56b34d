"""What an attempt records: the answer, bounded and as text, or why there is none, without secrets."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import httpx
import pytest
from structlog.testing import capture_logs

from domain.definition import Action
from domain.facts import Answered, Unanswered
from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import NOON, StoppedClock, answered, get, making, unanswered
from tests.support.exchanging import called
from tests.support.misbehaviour import raw
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import HttpCaller
    from domain.facts import Attempt


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock(), user_agent="chronoledger/test") as http_caller:
        yield http_caller


async def answer_to(response: bytes, **limits: int) -> Attempt:
    """What is recorded when a server sends exactly these bytes."""
    async with (
        Receiver(scripts={"raw": raw(response)}) as server,
        AiohttpCaller(clock=StoppedClock(), **limits) as http_caller,  # type: ignore[arg-type]
    ):
        return await called(http_caller, making(get(server.url("/raw"))))


async def test_an_answer_is_recorded_with_status_headers_and_body(
    caller: HttpCaller, receiver: Receiver
) -> None:
    attempt = await called(caller, making(get(receiver.url("/ok")), 3))
    assert attempt.number == 3
    assert attempt.started_at == NOON
    assert attempt.answer == Answered(
        status_code=200,
        headers={"content-type": "application/json", "content-length": "11"},
        body='{"ok":true}',
        truncated=False,
    )


async def test_the_duration_covers_the_whole_answer_in_milliseconds(
    caller: HttpCaller, receiver: Receiver
) -> None:
    attempt = await called(caller, making(get(receiver.url("/slow/0.25"))))
    assert 250 <= attempt.duration_ms < 30_000


@pytest.mark.parametrize("status", [101, 200, 204, 299, 304, 404, 418, 429, 500, 503, 599])
async def test_every_status_is_an_answer(caller: HttpCaller, receiver: Receiver, status: int) -> None:
    attempt = await called(caller, making(get(receiver.url(f"/status/{status}"))))
    assert answered(attempt).status_code == status


async def test_a_redirect_is_an_answer_and_is_not_followed(caller: HttpCaller, receiver: Receiver) -> None:
    answer = answered(await called(caller, making(get(receiver.url("/redirect")))))
    assert (answer.status_code, answer.headers["location"]) == (302, "/ok")
    assert [call.path for call in receiver.calls] == ["/redirect"]


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        answered(await called(http_caller, making(get(receiver.url("/ok")))))


async def test_the_answer_to_head_has_headers_and_no_body(caller: HttpCaller, receiver: Receiver) -> None:
    answer = answered(await called(caller, making(Action(method="HEAD", url=receiver.url("/ok")))))
    assert (answer.status_code, answer.headers["content-length"], answer.body) == (200, "11", "")


@pytest.mark.parametrize(("surplus", "truncated"), [(-1, False), (0, False), (1, True), (100_000, True)])
async def test_a_body_is_kept_up_to_the_cap_and_marked_when_cut(
    receiver: Receiver, surplus: int, *, truncated: bool
) -> None:
    async with AiohttpCaller(clock=StoppedClock(), max_body_bytes=1000) as http_caller:
        url = receiver.url(f"/big/{1000 + surplus}")
        answer = answered(await called(http_caller, making(get(url))))
    assert answer.body == "b" * min(1000, 1000 + surplus)
    assert answer.truncated is truncated


@pytest.mark.parametrize(("cap", "kept"), [(1, "a"), (2, "a"), (3, "aü"), (4, "aü"), (5, "aü"), (6, "aü€")])
async def test_a_character_cut_at_the_cap_is_left_out_not_replaced(cap: int, kept: str) -> None:
    response = b"HTTP/1.1 200 OK\r\n\r\n" + "aü€ and more".encode()
    answer = answered(await answer_to(response, max_body_bytes=cap))
    assert (answer.body, answer.truncated) == (kept, True)


def text_response(content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("iso-8859-1", "für".encode("latin-1"), "für"),
        ('"Windows-1252"', "5 €".encode("cp1252"), "5 €"),
        ("Shift_JIS", "日本".encode("shift_jis"), "日本"),
        ("utf-16", "日本".encode("utf-16"), "日本"),
        ("utf-16", b"no mark", "no mark"),
        ("utf-8", b"\xff ok \xc3", "\ufffd ok \ufffd"),
        ("made-up", "für".encode(), "für"),
        ("zlib", zlib.compress(b"x" * 1000)[:2], "x\ufffd"),
        ("idna", b"xn--a", "xn--a"),
        ("unicode_escape", rb"\ud800", r"\ud800"),
        ("us-ascii", b"nul \0 here", "nul \ufffd here"),
    ],
)
async def test_a_body_is_decoded_by_its_charset_and_is_always_storable_text(
    charset: str, body: bytes, text: str
) -> None:
    answer = answered(await answer_to(text_response(f"text/plain; charset={charset}", body)))
    assert answer.body == text
    answer.body.encode()


async def test_a_compressed_body_is_not_expanded() -> None:
    bomb = zlib.compress(b"\0" * 10_000_000)
    response = f"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    answer = answered(await answer_to(response + bomb))
    assert len(answer.body) <= len(bomb)
    assert answer.headers["content-encoding"] == "deflate"


async def test_header_names_are_lower_case_and_repeated_headers_joined() -> None:
    response = b"HTTP/1.1 200 Sch\xf6n\r\nX-One: a\r\nx-ONE: b\r\nX-Latin: \xe4\r\nContent-Length: 0\r\n\r\n"
    answer = answered(await answer_to(response))
    assert answer.headers == {"x-one": "a, b", "x-latin": "ä", "content-length": "0"}


async def test_repeated_cookies_stay_apart_though_they_hold_commas() -> None:
    cookies = ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2, c=3"]
    lines = f"Set-Cookie: {cookies[0]}\r\nSET-COOKIE: {cookies[1]}\r\n"
    answer = answered(await answer_to(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode()))
    assert answer.headers["set-cookie"].split("\n") == cookies


async def test_headers_over_the_cap_are_left_out() -> None:
    fat = b"X-Fat: " + b"f" * 600 + b"\r\n"
    response = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + fat + fat + b"Content-Length: 0\r\n\r\n"
    answer = answered(await answer_to(response, max_header_bytes=1000))
    assert answer.headers == {"x-a": "1", "x-fat": "f" * 600, "content-length": "0"}


@pytest.mark.parametrize(
    "path", ["/close", "/reset", "/garbage", "/half-close", "/chunked-bad", "/hang", None]
)
async def test_no_failure_tells_a_secret(caller: HttpCaller, receiver: Receiver, path: str | None) -> None:
    base = receiver.url(path) if path else "http://127.0.0.1:1/"
    action = Action(
        method="POST",
        url=base.replace("//", "//secret:secret@") + "?token=secret",
        headers={"X-Key": "secret"},
        payload={"password": "secret"},
        timeout_seconds=0.5,
    )
    failure = unanswered(await called(caller, making(action)))
    assert failure.retryable
    assert "secret" not in failure.error


async def test_a_mistake_of_our_own_is_told_and_logged_without_what_it_says() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("secret")

    async with AiohttpCaller(clock=StoppedClock(), transport=httpx.MockTransport(broken)) as http_caller:
        with capture_logs() as logs:
            attempt = await called(http_caller, making(get("http://example.test/")))
    assert attempt.answer == Unanswered(error="internal error: ZeroDivisionError", retryable=False)
    [entry] = logs
    assert (entry["log_level"], entry["error"]) == ("error", "ZeroDivisionError")
    assert "secret" not in str(entry)


async def test_a_failure_of_any_other_transport_is_retryable() -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("secret", request=request)

    async with AiohttpCaller(clock=StoppedClock(), transport=httpx.MockTransport(unreachable)) as http_caller:
        attempt = await called(http_caller, making(get("http://example.test/")))
    assert attempt.answer == Unanswered(error="the call to example.test failed: ConnectError", retryable=True)
