"""Where redirects lead, and what is sent there (RFC 9110, 15.4)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from infrastructure.http_caller.caller import AiohttpCaller
from infrastructure.http_caller.redirects import followed
from infrastructure.http_caller.request import RequestFactory
from tests.support.attempts import EXECUTION, StoppedClock, answered, get, making, onward, redirecting
from tests.support.exchanging import called
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from application.ports import HttpCaller
    from domain.definition import Action


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def elsewhere() -> AsyncIterator[Receiver]:
    """Another port: not where the credentials of `receiver` belong."""
    async with Receiver() as server:
        yield server


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    async with AiohttpCaller(clock=StoppedClock()) as http_caller:
        yield http_caller


async def arrived(caller: HttpCaller, action: Action) -> dict[str, Any]:
    """The request as /echo, the last place, saw it."""
    return dict(json.loads(answered(await called(caller, making(action))).body))


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/echo", "/echo"),
        ("/echo?a=%7e&b=/x?y#fragment", "/echo?a=%7e&b=/x?y"),
        ("/echo?", "/echo?"),
        ("/echo/a/../b", "/echo/a/../b"),
        ("../echo", "/echo"),
        ("../../../echo/./c", "/echo/c"),
        ("307/../../echo/x/..", "/echo/"),
        ("/echo/für mich?q=ü", "/echo/f%C3%BCr%20mich?q=%C3%BC"),
        ("//{host}/echo//x", "/echo//x"),
        ("http://{host}/echo", "/echo"),
        ("HTTP://{host}/echo", "/echo"),
    ],
)
async def test_a_location_is_read_as_a_reference_and_sent_as_it_is_written(
    caller: HttpCaller, receiver: Receiver, location: str, target: str
) -> None:
    place = location.format(host=f"127.0.0.1:{receiver.port}")
    request = await arrived(caller, redirecting(onward(receiver, 307, place)))
    assert request["path"] == target


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("", "/a//b/c?q=1"),
        ("#there", "/a//b/c?q=1"),
        ("?", "/a//b/c?"),
        ("?r=2", "/a//b/c?r=2"),
        ("d", "/a//b/d"),
        (".", "/a//b/"),
        ("../d?r", "/a//d?r"),
        ("https://other.test", "/"),
        ("https://other.test?r", "/?r"),
    ],
)
def test_a_reference_leaves_out_what_stays(location: str, target: str) -> None:
    request = RequestFactory("agent").request(making(get("http://example.test/a//b/c?q=1")))
    redirect = httpx.Response(307, headers={"Location": location})
    assert followed(request, redirect).extensions["target"] == target.encode()


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        *[(status, "GET", "GET") for status in (301, 302, 303)],
        *[(status, "POST", "GET") for status in (301, 302, 303)],
        *[(status, "PUT", "PUT") for status in (301, 302)],
        (303, "PUT", "GET"),
        (303, "DELETE", "GET"),
        *[(status, method, method) for status in (307, 308) for method in ("GET", "POST", "DELETE")],
    ],
)
async def test_the_method_follows_from_the_status(
    caller: HttpCaller, receiver: Receiver, status: int, method: str, becomes: str
) -> None:
    request = await arrived(caller, redirecting(onward(receiver, status, "/echo"), method))
    assert request["method"] == becomes


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_head_stays_head(caller: HttpCaller, receiver: Receiver, status: int) -> None:
    answered(await called(caller, making(redirecting(onward(receiver, status, "/ok"), "HEAD"))))
    assert [call.method for call in receiver.calls] == ["HEAD", "HEAD"]


@pytest.mark.parametrize(("status", "method"), [(301, "POST"), (302, "POST"), (303, "PUT"), (303, "GET")])
async def test_what_becomes_a_get_has_no_content_and_no_headers_about_it(
    caller: HttpCaller, receiver: Receiver, status: int, method: str
) -> None:
    headers = {"Content-Type": "a/json", "Content-Language": "de", "Digest": "x", "X-Kept": "Ã¼"}
    url = onward(receiver, status, "/echo")
    request = await arrived(caller, redirecting(url, method, payload={"a": 1}, headers=headers))
    assert (request["method"], request["body"]) == ("GET", "")
    assert [name for name in request["headers"] if name.startswith("content") or name == "digest"] == []
    assert request["headers"]["x-kept"] == "Ã¼"


@pytest.mark.parametrize(
    ("status", "method"), [(307, "POST"), (308, "POST"), (307, "GET"), (301, "PUT"), (302, "PATCH")]
)
async def test_what_keeps_its_method_keeps_its_content(
    caller: HttpCaller, receiver: Receiver, status: int, method: str
) -> None:
    request = await arrived(caller, redirecting(onward(receiver, status, "/echo"), method, payload={"a": 1}))
    assert (request["method"], request["body"]) == (method, '{"a":1}')
    assert request["headers"]["content-type"] == "application/json"


async def test_every_hop_carries_the_marks(
    caller: HttpCaller, receiver: Receiver, elsewhere: Receiver
) -> None:
    url = onward(receiver, 303, elsewhere.url("/onward/307?to="), receiver.url("/ok"))
    answered(await called(caller, making(redirecting(url, "POST", payload={}), 2)))
    calls = receiver.calls + elsewhere.calls
    assert len(calls) == 3
    for call in calls:
        assert call.headers["idempotency-key"] == str(EXECUTION)
        assert call.headers["x-chronoledger-attempt"] == "2"
        assert call.headers["x-chronoledger-due-at"] == "2030-01-01T12:00:00.000Z"
        assert call.headers["user-agent"].startswith("chronoledger/")


SECRETS = {"Authorization": "Bearer secret", "cookie": "secret=1", "PROXY-Authorization": "secret"}


async def test_credentials_are_kept_within_scheme_host_and_port(
    caller: HttpCaller, receiver: Receiver
) -> None:
    action = redirecting(onward(receiver, 307, receiver.url("/echo")), headers=SECRETS)
    headers = (await arrived(caller, action))["headers"]
    assert {name.lower(): value for name, value in SECRETS.items()}.items() <= headers.items()


@pytest.mark.parametrize("status", [302, 307])
async def test_credentials_never_go_to_another_port_and_do_not_come_back(
    caller: HttpCaller, receiver: Receiver, elsewhere: Receiver, status: int
) -> None:
    url = onward(receiver, status, elsewhere.url("/onward/307?to="), receiver.url("/echo"))
    with_user = url.replace("//", "//secret:secret@", 1)
    headers = {name: value for name, value in SECRETS.items() if name != "Authorization"}
    action = redirecting(with_user, headers=headers | {"X-Own": "mine", "Host": "named.test"})
    back = (await arrived(caller, action))["headers"]
    assert "secret" in str(receiver.calls[0].headers)
    for seen in (elsewhere.calls[0].headers, back):
        assert seen.keys().isdisjoint({"authorization", "cookie", "proxy-authorization"})
        assert seen["x-own"] == "mine"
    assert elsewhere.calls[0].headers["host"] == f"127.0.0.1:{elsewhere.port}"


@pytest.mark.parametrize(
    ("url", "location", "kept"),
    [
        ("http://example.test/", "http://example.test:80/x", True),
        ("http://example.test/", "HTTP://EXAMPLE.test:80/x", True),
        ("HTTP://example.test:80/", "/x", True),
        ("https://example.test:443/", "https://example.test/x", True),
        ("https://[::1]/", "//[::1]:443/x", True),
        ("https://example.test/", "http://example.test/x", False),
        ("https://example.test:8000/", "http://example.test:8000/x", False),
        ("http://example.test:8000/", "https://example.test:8000/x", False),
        ("http://example.test/", "http://example.test:8000/x", False),
        ("http://example.test/", "http://www.example.test/x", False),
        ("http://example.test/", "http://example.test./x", False),
    ],
)
def test_default_ports_and_case_make_no_other_place(url: str, location: str, *, kept: bool) -> None:
    request = RequestFactory("agent").request(making(get(url, headers=SECRETS)))
    redirect = httpx.Response(307, headers={"Location": location})
    headers = followed(request, redirect).headers
    assert [name in headers for name in SECRETS] == [kept] * 3


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_what_is_no_redirect_is_the_answer(caller: HttpCaller, receiver: Receiver, status: int) -> None:
    answer = answered(await called(caller, making(redirecting(onward(receiver, status, "/ok")))))
    assert (answer.status_code, answer.headers["location"]) == (status, "/ok")


async def test_a_redirect_without_a_location_is_the_answer(caller: HttpCaller, receiver: Receiver) -> None:
    action = redirecting(onward(receiver, 307, "/onward/302"))
    assert answered(await called(caller, making(action))).status_code == 302
