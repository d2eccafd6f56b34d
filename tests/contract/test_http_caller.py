"""What every attempt promises: what is sent, what is recorded, and that nothing secret is told."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from domain.definition import Action
from domain.facts import Answered, Unanswered
from infrastructure.http_caller import AiohttpCaller
from infrastructure.http_caller.request import RequestFactory
from tests.support.receiver import Receiver, raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from application.ports import HttpCaller
    from domain.facts import Attempt

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
EXECUTION = UUID("0190d3a1-0000-8000-8000-000000000001")


class StoppedClock:
    def now(self) -> datetime:
        return NOON

    async def sleep_until(self, instant: datetime) -> None:
        raise NotImplementedError


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock(), user_agent="Chronoledger/test") as http_caller:
        yield http_caller


def get(url: str, **fields: Any) -> Action:
    return Action(method="GET", url=url, **fields)


def post(url: str, payload: Any, **headers: str) -> Action:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Action(method="POST", url=url, payload=payload, headers=named)


def answered(attempt: Attempt) -> Answered:
    assert isinstance(attempt.answer, Answered), attempt.answer
    return attempt.answer


def unanswered(attempt: Attempt) -> Unanswered:
    assert isinstance(attempt.answer, Unanswered), attempt.answer
    return attempt.answer


async def echoed(caller: HttpCaller, action: Action, number: int = 1) -> dict[str, Any]:
    """The request as the receiver's /echo saw it."""
    return dict(json.loads(answered(await caller.call(action, EXECUTION, number)).body))


async def sent_bytes(action: Action) -> bytes:
    """The request's content, seen at the transport: the receiver's echo is text."""
    seen: list[bytes] = []

    def record(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(200)

    async with AiohttpCaller(clock=StoppedClock(), transport=httpx.MockTransport(record)) as mocked:
        answered(await mocked.call(action, EXECUTION, 1))
    return seen[0]


async def answer_to(response: bytes, **limits: int) -> Attempt:
    """What is recorded when a server sends exactly these bytes."""
    async with (
        Receiver(scripts={"raw": raw(response)}) as server,
        AiohttpCaller(clock=StoppedClock(), **limits) as http_caller,  # type: ignore[arg-type]
    ):
        return await http_caller.call(get(server.url("/raw")), EXECUTION, 1)


async def test_an_answer_is_recorded_with_status_headers_and_body(
    caller: HttpCaller, receiver: Receiver
) -> None:
    attempt = await caller.call(get(receiver.url("/ok")), EXECUTION, 3)
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
    attempt = await caller.call(get(receiver.url("/slow/0.25")), EXECUTION, 1)
    assert 250 <= attempt.duration_ms < 30_000


@pytest.mark.parametrize("status", [101, 200, 204, 299, 304, 404, 418, 429, 500, 503, 599])
async def test_every_status_is_an_answer(caller: HttpCaller, receiver: Receiver, status: int) -> None:
    attempt = await caller.call(get(receiver.url(f"/status/{status}")), EXECUTION, 1)
    assert answered(attempt).status_code == status


async def test_a_redirect_is_an_answer_and_is_not_followed(caller: HttpCaller, receiver: Receiver) -> None:
    answer = answered(await caller.call(get(receiver.url("/redirect")), EXECUTION, 1))
    assert (answer.status_code, answer.headers["location"]) == (302, "/ok")
    assert [call.path for call in receiver.calls] == ["/redirect"]


async def test_cookies_are_not_kept(caller: HttpCaller, receiver: Receiver) -> None:
    first = answered(await caller.call(get(receiver.url("/redirect")), EXECUTION, 1))
    assert first.headers["set-cookie"] == "seen=1"
    assert "cookie" not in (await echoed(caller, get(receiver.url("/echo"))))["headers"]


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        answered(await http_caller.call(get(receiver.url("/ok")), EXECUTION, 1))


async def test_an_attempt_says_which_it_is(caller: HttpCaller, receiver: Receiver) -> None:
    request = await echoed(caller, get(receiver.url("/echo"), headers={"X-Own": "mine"}), number=2)
    assert request["headers"] == {
        "host": f"127.0.0.1:{receiver.port}",
        "x-own": "mine",
        "user-agent": "Chronoledger/test",
        "accept": "*/*",
        "accept-encoding": "identity",
        "idempotency-key": str(EXECUTION),
        "x-chronoledger-attempt": "2",
    }


async def test_the_users_headers_win_over_the_defaults_but_not_over_the_marks(
    caller: HttpCaller, receiver: Receiver
) -> None:
    own = {
        "user-agent": "mine",
        "ACCEPT": "text/plain",
        "Accept-Encoding": "gzip",
        "Host": "elsewhere.example",
        "idempotency-KEY": "mine",
        "Content-Length": "99",
    }
    headers = (await echoed(caller, get(receiver.url("/echo"), headers=own)))["headers"]
    assert headers["user-agent"] == "mine"
    assert headers["accept"] == "text/plain"
    assert headers["accept-encoding"] == "gzip"
    assert headers["host"] == "elsewhere.example"
    assert headers["idempotency-key"] == str(EXECUTION)
    assert "content-length" not in headers


async def test_overlapping_attempts_of_one_action_keep_their_own_marks(
    caller: HttpCaller, receiver: Receiver
) -> None:
    action = get(receiver.url("/echo"))
    executions = [uuid4() for _ in range(20)]
    attempts = await asyncio.gather(*(caller.call(action, one, n) for n, one in enumerate(executions, 1)))
    marks = [json.loads(answered(attempt).body)["headers"] for attempt in attempts]
    assert [mark["idempotency-key"] for mark in marks] == [str(one) for one in executions]
    assert [mark["x-chronoledger-attempt"] for mark in marks] == [str(n) for n in range(1, 21)]


def test_an_action_is_never_taken_for_another_one_that_had_its_place_in_memory() -> None:
    factory = RequestFactory("Chronoledger/test", size=2)
    for number in range(200):
        action = get("http://example.test/", headers={"X-Number": str(number)})
        assert factory.request(action, EXECUTION, 1).headers["x-number"] == str(number)


def test_the_actions_that_were_not_used_for_long_are_let_go() -> None:
    factory = RequestFactory("Chronoledger/test", size=2)
    used, unused = get("http://example.test/"), get("http://example.test/")
    references = sys.getrefcount(unused)
    factory.request(used, EXECUTION, 1)
    factory.request(unused, EXECUTION, 1)
    factory.request(used, EXECUTION, 2)
    factory.request(get("http://example.test/"), EXECUTION, 1)
    assert sys.getrefcount(used) > sys.getrefcount(unused) == references


def test_a_large_request_is_not_kept() -> None:
    factory = RequestFactory("Chronoledger/test", size=2)
    action = post("http://example.test/", "x" * 20_000)
    references = sys.getrefcount(action)
    factory.request(action, EXECUTION, 1)
    assert sys.getrefcount(action) == references


def test_the_request_of_an_action_is_built_once() -> None:
    factory = RequestFactory("Chronoledger/test", size=2)
    action = get("http://example.test/")
    assert factory.request(action, EXECUTION, 1).url is factory.request(action, uuid4(), 2).url


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        ({"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'),
        ([], "[]"),
        (False, "false"),
        (0, "0"),
        ("plain", '"plain"'),
        ("", '""'),
    ],
)
async def test_a_payload_is_sent_as_compact_json(
    caller: HttpCaller, receiver: Receiver, payload: Any, body: str
) -> None:
    request = await echoed(caller, post(receiver.url("/echo"), payload))
    assert request["body"] == body
    assert request["headers"]["content-type"] == "application/json"
    assert request["headers"]["content-length"] == str(len(body.encode()))


async def test_json_under_a_content_type_of_its_own_keeps_it(caller: HttpCaller, receiver: Receiver) -> None:
    action = post(receiver.url("/echo"), {"a": 1}, content_type="application/vnd.api+json")
    request = await echoed(caller, action)
    assert (request["body"], request["headers"]["content-type"]) == ('{"a":1}', "application/vnd.api+json")


async def test_a_string_with_a_content_type_of_its_own_is_sent_as_it_is(
    caller: HttpCaller, receiver: Receiver
) -> None:
    request = await echoed(caller, post(receiver.url("/echo"), "a=ü&b", content_type="text/plain"))
    assert (request["body"], request["headers"]["content-type"]) == ("a=ü&b", "text/plain")


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        ("text/plain", "ü€"),
        ("text/plain; charset=UTF-8", "ü€"),
        ('text/plain; format=flowed;charset="iso-8859-15"', "ü€"),
        ("text/plain; charset=windows-1252", "ü€"),
    ],
)
async def test_a_string_is_written_in_the_charset_that_its_content_type_names(
    content_type: str, sent: str
) -> None:
    charset = content_type.partition("charset=")[2].strip('"') or "utf-8"
    content = await sent_bytes(post("http://example.test/", sent, content_type=content_type))
    assert content == sent.encode(charset)


async def test_no_payload_means_no_body_and_no_content_type(caller: HttpCaller, receiver: Receiver) -> None:
    request = await echoed(caller, post(receiver.url("/echo"), None))
    assert request["body"] == ""
    assert request["headers"]["content-length"] == "0"
    assert "content-type" not in request["headers"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_any_method_is_sent_with_its_body(caller: HttpCaller, receiver: Receiver, method: str) -> None:
    request = await echoed(caller, Action(method=method, url=receiver.url("/echo"), payload={"a": 1}))
    assert (request["method"], request["body"]) == (method, '{"a":1}')


async def test_the_answer_to_head_has_headers_and_no_body(caller: HttpCaller, receiver: Receiver) -> None:
    answer = answered(await caller.call(Action(method="HEAD", url=receiver.url("/ok")), EXECUTION, 1))
    assert (answer.status_code, answer.headers["content-length"], answer.body) == (200, "11", "")


async def test_path_and_query_arrive_as_they_were_written(caller: HttpCaller, receiver: Receiver) -> None:
    target = "/echo/a%2Fb/%C3%BC;v=1?q=a%20b+c%2B&sig=x%3D%3D&empty=&q=2"
    assert (await echoed(caller, get(receiver.url(f"{target}#fragment"))))["path"] == target


async def test_credentials_in_the_url_become_basic_authorization(
    caller: HttpCaller, receiver: Receiver
) -> None:
    url = receiver.url("/echo").replace("//", "//us%40er:p%C3%A4ss@")
    request = await echoed(caller, get(url))
    assert request["headers"]["authorization"] == "Basic " + base64.b64encode("us@er:päss".encode()).decode()
    assert request["path"] == "/echo"
    own = await echoed(caller, get(url, headers={"Authorization": "Bearer mine"}))
    assert own["headers"]["authorization"] == "Bearer mine"


@pytest.mark.parametrize(("surplus", "truncated"), [(-1, False), (0, False), (1, True), (100_000, True)])
async def test_a_body_is_kept_up_to_the_cap_and_marked_when_cut(
    receiver: Receiver, surplus: int, *, truncated: bool
) -> None:
    async with AiohttpCaller(clock=StoppedClock(), max_body_bytes=1000) as http_caller:
        url = receiver.url(f"/big/{1000 + surplus}")
        answer = answered(await http_caller.call(get(url), EXECUTION, 1))
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


async def test_headers_over_the_cap_are_left_out() -> None:
    fat = b"X-Fat: " + b"f" * 600 + b"\r\n"
    response = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + fat + fat + b"Content-Length: 0\r\n\r\n"
    answer = answered(await answer_to(response, max_header_bytes=1000))
    assert answer.headers == {"x-a": "1", "x-fat": "f" * 600, "content-length": "0"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: get("nowhere"), "action.url"),
        (lambda _: get("ftp://example.test/"), "action.url"),
        (lambda _: get("http:///path"), "action.url"),
        (lambda _: get("http://[::1/"), "action.url"),
        (lambda _: get("http://127.1:8000/"), "action.url"),
        (lambda _: get("http://example.test:99999/"), "action.url"),
        (lambda _: get("http://a..b/"), "action.url"),
        (lambda url: get(url, headers={"two words": "x"}), "action.headers"),
        (lambda url: get(url, headers={"X-Split": "a\r\nX-Other: b"}), "X-Split"),
        (lambda url: post(url, "x", content_type="text/plain; charset=klingon"), "klingon"),
        (lambda url: post(url, "€", content_type="text/plain; charset=latin-1"), "latin-1"),
    ],
)
async def test_what_cannot_be_sent_says_what_to_change_and_is_not_retried(
    caller: HttpCaller, receiver: Receiver, make: Callable[[str], Action], words: str
) -> None:
    failure = unanswered(await caller.call(make(receiver.url("/ok")), EXECUTION, 1))
    assert words in failure.error
    assert not failure.retryable
    assert receiver.calls == []


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
    failure = unanswered(await caller.call(action, EXECUTION, 1))
    assert failure.retryable
    assert "secret" not in failure.error


async def test_a_mistake_of_our_own_is_told_and_logged_without_what_it_says() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("secret")

    async with AiohttpCaller(clock=StoppedClock(), transport=httpx.MockTransport(broken)) as http_caller:
        with capture_logs() as logs:
            attempt = await http_caller.call(get("http://example.test/"), EXECUTION, 1)
    assert attempt.answer == Unanswered(error="internal error: ZeroDivisionError", retryable=False)
    [entry] = logs
    assert (entry["log_level"], entry["error"]) == ("error", "ZeroDivisionError")
    assert "secret" not in str(entry)


async def test_a_failure_of_any_other_transport_is_retryable() -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("secret", request=request)

    async with AiohttpCaller(clock=StoppedClock(), transport=httpx.MockTransport(unreachable)) as http_caller:
        attempt = await http_caller.call(get("http://example.test/"), EXECUTION, 1)
    assert attempt.answer == Unanswered(error="the call to example.test failed: ConnectError", retryable=True)
