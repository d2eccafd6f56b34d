"""A request is written as one request, with its end, whatever it is made of."""

from __future__ import annotations

import httpx
import pytest

from infrastructure.http_caller.outgoing import TARGET, outgoing, request_line, written


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nX-Other: b", "a\rb", "a\0b"])
def test_a_field_that_would_be_two_is_not_written(value: str) -> None:
    with pytest.raises(ValueError, match="a header"):
        written([("x-one", "fine"), ("x-split", value)])


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/a b"), ("GET", "/\r\nX-Other:b"), ("GET", "/ü"), ("GET /", "/"), ("G\r\n", "/"), ("", "/")],
)
def test_a_first_line_that_would_be_another_is_not_written(method: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"request line|ascii"):
        request_line(method, target)


@pytest.mark.parametrize(
    ("method", "content", "framed"),
    [
        ("GET", b"", []),
        ("HEAD", b"", []),
        ("OPTIONS", b"", []),
        ("DELETE", b"", ["0"]),
        ("PROPFIND", b"", ["0"]),
        ("POST", b"", ["0"]),
        ("GET", b"abc", ["3"]),
        ("POST", b"abc", ["3"]),
    ],
)
def test_any_request_of_httpx_tells_once_where_it_ends(
    method: str, content: bytes, framed: list[str]
) -> None:
    request = httpx.Request(method, "http://name.test/", content=content, extensions={TARGET: b"/a"})
    sent = outgoing(request)
    assert sent.head.startswith(f"{method} /a HTTP/1.1\r\n".encode())
    assert sent.head.endswith(b"\r\n\r\n")
    assert sent.headers.get_list("content-length") == framed
    assert sent.headers.get_list("host") == ["name.test"]
    assert sent.content == content
