"""Which calls are admitted: methods, URLs, headers, payloads, timeouts."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.definition import Action
from domain.validation.action import action_errors, normal_action, url_advice
from tests.unit.test_schedule_properties import PATIENT

ACTION = Action(method="POST", url="https://example.com/reports")


def complaints(**changes: Any) -> dict[str, str]:
    errors = action_errors(replace(ACTION, **changes))
    return {error.pointer: error.detail for error in errors}


def complaint(field: str, **changes: Any) -> str:
    """The sentence about this field, which must be the only one."""
    found = complaints(**changes)
    assert list(found) == [f"/action/{field}"]
    return found[f"/action/{field}"]


@pytest.mark.parametrize("method", ["GET", "head", "Post", "PUT", "patch", "DELETE", "options"])
def test_a_method_is_stored_in_upper_case(method: str) -> None:
    assert complaints(method=method) == {}
    assert normal_action(replace(ACTION, method=method)).method == method.upper()


@pytest.mark.parametrize("method", ["", "CONNECT", "trace", "BREW", "GET ", "POST\r\nX: y", "PO\u017fT"])
def test_other_methods_are_refused(method: str) -> None:
    assert "give one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS." in complaint("method", method=method)


URLS = [
    "http://localhost",
    "HTTPS://Example.COM:8443/a/b;c=d?x=[1]&y='z'",
    "http://127.0.0.1:1/",
    "http://[::1]:65535/",
    "http://[::ffff:127.0.0.1]",
    "http://web_1.internal./%7Euser",
    "http://xn--bcher-kva.example?",
    "http://3com.com/",
    "http://a/x//y@z",
    "http://a/" + "x" * 2039,
]


@pytest.mark.parametrize("url", URLS)
def test_an_absolute_web_address_is_admitted(url: str) -> None:
    assert url_advice(url) is None


WRONG_URLS = {
    "": 'The URL "" does not start with http:// or https:// and a host',
    "example.com/x": "does not start with http:// or https:// and a host",
    "/x": "does not start with",
    "ftp://example.com/": "does not start with",
    "file:///etc/passwd": "does not start with",
    "http:example.com": "does not start with",
    "http:///path": "does not start with",
    "http://": "does not start with",
    "http://:80/": 'host ":80" is not valid; give a name, an IPv4 or [IPv6] address',
    "http://?x": "does not start with",
    "http://a..b/": "is not valid",
    "http://-a/": "is not valid",
    f"http://{'a' * 64}/": "is not valid",
    f"http://{'a.' * 127}aa/": "is not valid",
    "http://a%41/": "is not valid",
    "http://a:0/": 'host "a:0" is not valid',
    "http://a:65536/": "cannot be read; check the host, its brackets and the port (1-65535)",
    "http://a:b/": "cannot be read",
    "http://a:8 0/": 'contains " "; percent-encode it (a blank is %20)',
    "http://[::1/": "cannot be read",
    "http://[::1%25lo]/": "is not valid",
    "http://[v1.x]/": "is not valid",
    "http://[1::2::3]/": "cannot be read",
    "http://[1:2]/": "cannot be read",
    "http://127.1/": "is not valid",
    "http://0x7f.1/": "is not valid",
    "http://2130706433/": "is not valid",
    "http://0x7f000001/": "is not valid",
    "http://1.2.3.256/": "is not valid",
    "http://a/x#part": 'ends in "#part", which is never sent; leave it out',
    "http://a#": 'ends in "#"',
    "http://a/x y": 'contains " "',
    "http://a/x\r\nHost: b": r'contains "\r"',
    "http://a/\x00": r'contains "\x00"',
    "http://a\\b/": r'contains "\"',
    "http://a/{id}": 'contains "{"',
    "http://bücher.example/": 'contains "ü"; percent-encode it (a blank is %20), and give',
    "http://a/100%": 'contains "%"; write %25 for a percent sign',
    "http://a/%zz": 'contains "%zz"',
    "http://a/" + "x" * 2040: "has 2049 characters; give at most 2,048",
}


@pytest.mark.parametrize(("url", "said"), WRONG_URLS.items(), ids=range(len(WRONG_URLS)))
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    assert said in complaint("url", url=url)


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@a/", "http://me:s3cret@a/ x%", "http://s3cret@", "x://s3cret@a#b"]
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    said = complaint("url", url=url)
    assert "use an Authorization header" in said
    assert "s3cret" not in said


@given(
    st.text("ab1.:/?#[]@%20-_~!é\\ ", max_size=20).map("http://".__add__)
    | st.from_regex(r"\Ahttps?://[!-~]{1,30}\Z")
)
@PATIENT
def test_an_admitted_url_is_sent_as_it_was_given(url: str) -> None:
    if url_advice(url) is None:
        sent = httpx.Request("GET", url).url
        path_and_query = url.partition("//")[2].partition("/")[2]
        assert sent.host
        if path_and_query and "/." not in url and "?" not in url.partition("//")[2].partition("/")[0]:
            assert sent.raw_path == b"/" + path_and_query.encode()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "k", "Authorization": "Bearer a.b.c", "Accept": "*/*", "User-Agent": "x/1 (y; z)"},
        {"X-Latin": "Grüße", "X-Tab": "a\tb", "X-Empty": ""},
        {"idempotency-key": "order-17", "X-Chronoledger-Attempt": "one"},
        {f"X-{number}": "v" for number in range(100)},
        {f"X-{number}": "v" * 8000 for number in range(4)},
    ],
)
def test_headers_are_admitted(headers: dict[str, str]) -> None:
    assert complaints(headers=headers) == {}


def test_blanks_around_a_header_value_are_dropped() -> None:
    assert normal_action(replace(ACTION, headers={"X-A": " \tb c "})).headers == {"X-A": "b c"}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "Ä", "a\r\nb", "(a)", "a/b", "a\ud800"])
def test_a_header_name_is_a_token(name: str) -> None:
    [said] = complaints(headers={name: "v"}).values()
    assert "use letters, digits and" in said


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length",
        "transfer-encoding",
        "CONNECTION",
        "Host",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Proxy-Authorization",
    ],
)
def test_headers_of_the_connection_are_refused(name: str) -> None:
    assert "belongs to the connection" in complaint(f"headers/{name}", headers={name: "v"})


def test_a_header_given_twice_is_refused_at_both_places() -> None:
    found = complaints(headers={"X-A": "1", "x-a": "2", "X-B": "3"})
    assert list(found) == ["/action/headers/X-A", "/action/headers/x-a"]
    assert "more than once, in different case" in found["/action/headers/x-a"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a\r\nX-B: c", r'the control character "\r"; leave it out'),
        ("a\nb", r'the control character "\n"'),
        ("a\x00", r'the control character "\x00"'),
        ("a\x7f", r'the control character "\x7f"'),
        ("a\x85", r'the control character "\x85"'),
        ("10 €", 'contains "€", which ISO 8859-1 lacks; encode it'),
        ("x" * 8193, "has 8193 characters; give at most 8,192"),
    ],
)
def test_a_header_value_that_cannot_be_sent_is_refused(value: str, said: str) -> None:
    assert said in complaint("headers/X-A", headers={"X-A": value})


def test_a_header_value_is_never_repeated() -> None:
    assert "s3cret" not in complaint("headers/X-A", headers={"X-A": "s3cret\n"})


def test_too_many_headers_are_refused() -> None:
    assert "There are 101 headers; give at most 100." in complaint(
        "headers", headers={f"X-{number}": "\n" for number in range(101)}
    )
    assert "more than 32,768 characters together" in complaint(
        "headers", headers={f"X-{number}": "v" * 8192 for number in range(4)}
    )


@pytest.mark.parametrize("payload", [None, True, 0, 1.5, "", "a\0b", [], {"a": [1, {"b": None}]}, 10**30])
def test_a_payload_is_any_json_with_every_method(payload: Any) -> None:
    for method in ("GET", "HEAD", "POST"):
        assert complaints(method=method, payload=payload) == {}


def test_a_payload_that_is_no_json_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for payload in (object(), "\ud800", {"a": object()}, nested):
        assert "is not JSON, or nested too deeply" in complaint("payload", payload=payload)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/problem+json", " text/json ;x"],
)
def test_a_json_content_type_goes_with_any_payload(content_type: str) -> None:
    assert complaints(headers={"content-type": content_type}, payload={"a": 1}) == {}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "", "application/jsonlines", "json", "a;/json"]
)
def test_another_content_type_takes_a_string_or_nothing(content_type: str) -> None:
    headers = {"Content-Type": content_type}
    assert complaints(headers=headers, payload="<a/>") == complaints(headers=headers) == {}
    said = complaint("payload", headers=headers, payload={"a": 1})
    assert "drop that header, or make the payload a string" in said


@pytest.mark.parametrize("timeout", [0.001, 1, 30.0, 3600])
def test_a_timeout_is_at_most_an_hour(timeout: float) -> None:
    assert complaints(timeout_seconds=timeout) == {}


@pytest.mark.parametrize("timeout", [0, -1, 3600.1, float("inf"), float("nan")])
def test_a_timeout_out_of_range_is_refused(timeout: float) -> None:
    said = complaint("timeout_seconds", timeout_seconds=timeout)
    assert said == f'The timeout "{timeout}" is out of range; give more than 0 and at most 3600 seconds.'


@pytest.mark.parametrize("bound", [None, 0.001, 5, 30.0])
def test_getting_a_connection_may_take_as_long_as_the_whole_call(bound: float | None) -> None:
    assert complaints(connect_timeout_seconds=bound, timeout_seconds=30) == {}


@pytest.mark.parametrize("bound", [0, -1, float("nan")])
def test_a_connect_timeout_of_nothing_is_refused(bound: float) -> None:
    said = complaint("connect_timeout_seconds", connect_timeout_seconds=bound)
    assert said == (
        f'connect_timeout_seconds "{bound}" is out of range; give more than 0 and at most timeout_seconds.'
    )


def test_a_connect_timeout_beyond_the_timeout_is_refused() -> None:
    said = complaint("connect_timeout_seconds", connect_timeout_seconds=10.5, timeout_seconds=10.0)
    assert said == (
        'connect_timeout_seconds "10.5" is longer than the whole call may take; '
        "give at most timeout_seconds (10), or leave it out."
    )


def test_up_to_ten_redirects_may_be_followed() -> None:
    assert complaints(max_redirects=0) == complaints(max_redirects=10) == {}
    for number in (-1, 11):
        said = complaint("max_redirects", max_redirects=number)
        assert said == f'max_redirects "{number}" is out of range; give 0 to 10.'
