"""What an attempt sends: the user's request, marked, and never another one's."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from domain.definition import Action
from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import StoppedClock, answered, get, making, post, unanswered
from tests.support.exchanging import called
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from application.ports import HttpCaller


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock(), user_agent="chronoledger/test") as http_caller:
        yield http_caller


async def echoed(caller: HttpCaller, action: Action, number: int = 1) -> dict[str, Any]:
    """The request as the receiver's /echo saw it."""
    return dict(json.loads(answered(await called(caller, making(action, number))).body))


async def sent_bytes(action: Action) -> bytes:
    """The request's content, seen at the transport: the receiver's echo is text."""
    seen: list[bytes] = []

    def record(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(200)

    async with AiohttpCaller(clock=StoppedClock(), transport=httpx.MockTransport(record)) as mocked:
        answered(await called(mocked, making(action)))
    return seen[0]


async def test_cookies_are_not_kept(caller: HttpCaller, receiver: Receiver) -> None:
    first = answered(await called(caller, making(get(receiver.url("/redirect")))))
    assert first.headers["set-cookie"] == "seen=1"
    assert "cookie" not in (await echoed(caller, get(receiver.url("/echo"))))["headers"]


async def test_the_length_follows_from_the_payload_whatever_the_user_says(
    caller: HttpCaller, receiver: Receiver
) -> None:
    action = get(receiver.url("/echo"), headers={"Content-Length": "99", "Transfer-Encoding": "chunked"})
    headers = (await echoed(caller, action))["headers"]
    assert headers.keys().isdisjoint({"content-length", "transfer-encoding"})


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


@pytest.mark.parametrize(
    "target",
    [
        "/echo/a%2Fb/%C3%BC;v=1?q=a%20b+c%2B&sig=x%3D%3D&empty=&q=2",
        "/echo/%41%2f%7e~?q=%41+b",
        "/echo/a/../b/./c//d/.",
        "/echo?",
        "/echo?a=1?b=2&&",
        "/echo/!$&'()*+,;=:@[]?!$'()*,;:@/[]",
        "//echo",
    ],
)
async def test_path_and_query_arrive_as_they_were_written(
    caller: HttpCaller, receiver: Receiver, target: str
) -> None:
    for suffix in ("", "#fragment"):
        answered(await called(caller, making(get(receiver.url(f"{target}{suffix}")))))
    assert [call.path for call in receiver.calls] == [target, target]


@pytest.mark.parametrize(("written", "sent"), [("", "/"), ("?a=1", "/?a=1"), ("?/", "/?/")])
async def test_a_url_without_a_path_asks_for_the_root(
    caller: HttpCaller, receiver: Receiver, written: str, sent: str
) -> None:
    answered(await called(caller, making(get(receiver.url(written)))))
    assert [call.path for call in receiver.calls] == [sent]


@pytest.mark.parametrize("payload", [None, {"a": "ü"}])
async def test_header_values_go_out_in_iso_8859_1(payload: Any) -> None:
    values = {"X-One": "Grüße", "X-Two": "Ã¼ is no ü", "X-Plain": "plain"}
    received: list[bytes] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(record, "127.0.0.1", 0)
    async with server, AiohttpCaller(clock=StoppedClock()) as caller:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        action = Action(method="POST", url=url, headers=values, payload=payload)
        answered(await called(caller, making(action)))
    lines = received[0].split(b"\r\n")
    for name, value in values.items():
        assert f"{name.lower()}: {value}".encode("latin-1") in lines


@pytest.mark.parametrize("payload", [None, "body"])
async def test_a_request_with_letters_beyond_ascii_in_its_headers_is_whole(
    caller: HttpCaller, receiver: Receiver, payload: str | None
) -> None:
    action = Action(method="PUT", url=receiver.url("/echo"), headers={"X-One": "ü"}, payload=payload)
    for _ in range(2):  # on one connection: what was sent too much would be taken for a second request
        request = await echoed(caller, action)
        assert request["body"] == ("" if payload is None else f'"{payload}"')
        assert request["headers"]["x-one"] == "ü"
    assert receiver.connections == 1


async def test_credentials_in_the_url_become_basic_authorization(
    caller: HttpCaller, receiver: Receiver
) -> None:
    url = receiver.url("/echo").replace("//", "//us%40er:p%C3%A4ss@")
    request = await echoed(caller, get(url))
    assert request["headers"]["authorization"] == "Basic " + base64.b64encode("us@er:päss".encode()).decode()
    assert request["path"] == "/echo"
    own = await echoed(caller, get(url, headers={"Authorization": "Bearer mine"}))
    assert own["headers"]["authorization"] == "Bearer mine"


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
        (lambda url: get(f"{url}/ü"), "action.url"),
        (lambda url: get(f"{url}?a b"), "action.url"),
        (lambda url: get(url, headers={"X-Price": "5 €"}), "X-Price"),
        (lambda url: get(url, headers={"X-Split": "a\r\nX-Other: b"}), "X-Split"),
        (lambda url: post(url, "x", content_type="text/plain; charset=klingon"), "klingon"),
        (lambda url: post(url, "€", content_type="text/plain; charset=latin-1"), "latin-1"),
    ],
)
async def test_what_cannot_be_sent_says_what_to_change_and_is_not_retried(
    caller: HttpCaller, receiver: Receiver, make: Callable[[str], Action], words: str
) -> None:
    failure = unanswered(await called(caller, making(make(receiver.url("/ok")))))
    assert words in failure.error
    assert not failure.retryable
    assert receiver.calls == []


async def test_the_content_does_not_wait_for_a_server_that_says_no_100_continue(
    caller: HttpCaller, receiver: Receiver
) -> None:
    action = post(receiver.url("/echo"), {"a": 1}, expect="100-continue")
    request = await echoed(caller, action)
    assert (request["body"], request["headers"]["expect"]) == ('{"a":1}', "100-continue")
