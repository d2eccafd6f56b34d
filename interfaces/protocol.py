"""HTTP/1.1 as uvicorn reads it, with a bound on all that is not a body, and with refusals that explain."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import httptools
import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from interfaces.http.app import HEADERS
from interfaces.http.documentation import PROBLEM_MEDIA_TYPE, Problem
from interfaces.http.problems import MOST_HEAD_BYTES, HeadTooLarge, NotHttp, problem_type
from interfaces.whole_answers import WholeAnswers

if TYPE_CHECKING:
    import asyncio

LINGER_SECONDS = 2.0
_PUNCTUATION_BYTES = 4
_LONGEST_SHOWN = 2_048

_log = structlog.get_logger(__name__)


class BoundedHttp(HttpToolsProtocol):
    """Refuses a request whose line and headers have more than `MOST_HEAD_BYTES`, or that is no HTTP/1.1.

    After a refusal it reads on for up to `LINGER_SECONDS` and drops what it reads: closing at once would
    reset the connection under a client that is still sending, before that one has read why.
    A request to upgrade the protocol is served as if it had not asked (RFC 9110, 7.8).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.url = b""
        self._head_bytes = 0
        self._unfinished_bytes = 0
        self._within_body = False
        self._upgrade_asked = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        self._answers = WholeAnswers(transport)
        super().connection_made(cast("asyncio.Transport", self._answers))

    def on_response_complete(self) -> None:
        """The answer has been written, and a request that came meanwhile is next."""
        self._answers.answered()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what came, or refuse the connection's request."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except HeadTooLarge as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            self._refuse(_refusal(error))

    def _parse(self, data: bytes) -> None:
        # The parser hands out a header when it is whole, so one without end shows in nothing but this count.
        self._unfinished_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrade_asked:
                self._parse_without_upgrade(data[upgrade.args[0] :])
        if self._unfinished_bytes > MOST_HEAD_BYTES:
            raise HeadTooLarge

    def _parse_without_upgrade(self, rest: bytes) -> None:
        # The parser would take the body for the other protocol: it gets the same head, without the new_task.
        version, method = self.parser.get_http_version(), self.parser.get_method()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        head = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        head += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self._parse(b"\r\n".join([*head, b"", rest]))

    def on_message_begin(self) -> None:
        """A request line begins."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer of a body is counted and dropped (RFC 9110, 6.5.1)."""
        self._count(len(name) + len(value) + _PUNCTUATION_BYTES)
        if not self._within_body:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._unfinished_bytes = 0
        asked = any(name == b"upgrade" for name, _ in self.headers)
        self._upgrade_asked = asked and self.parser.should_upgrade()
        if not self._upgrade_asked:
            super().on_headers_complete()
            self._within_body = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unfinished_bytes = 0
        if not self._upgrade_asked:
            self._within_body = False
            super().on_message_complete()

    def _refuse(self, refusal: HeadTooLarge | NotHttp) -> None:
        self._refused = True
        cycle = self.cycle
        if self._within_body and (cycle.response_started or self.pipeline):
            self.transport.close()
        elif self._within_body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._explain(refusal)
        elif cycle is None or cycle.response_complete:
            self._explain(refusal)
        else:  # what is wrong follows a request that is still to be answered
            cycle.keep_alive = False

    def _explain(self, refusal: HeadTooLarge | NotHttp) -> None:
        kind = problem_type(refusal)
        problem = Problem(
            type=kind.uri,
            title=kind.title,
            status=kind.status,
            detail=str(refusal),
            instance=self._path(),
            request_id=uuid4().hex,
        )
        _log.debug("http_request_refused", request_id=problem.request_id, status=kind.status)
        self.transport.write(self._answer(problem))
        self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self.timeout_keep_alive_handler)

    def _path(self) -> str:
        path = self.url.partition(b"?")[0]
        legible = path.startswith(b"/") and path.isascii() and len(path) <= _LONGEST_SHOWN
        return path.decode() if legible else "/"

    def _answer(self, problem: Problem) -> bytes:
        body = msgspec.json.encode(problem)
        headers = {
            **HEADERS,
            "Content-Type": PROBLEM_MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "X-Request-ID": problem.request_id,
        }
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
        lines += [b"%b: %b" % header for header in self.server_state.default_headers]
        lines += [f"{name}: {value}".encode() for name, value in headers.items()]
        return b"\r\n".join([*lines, b"", body])


def _refusal(error: httptools.HttpParserError) -> HeadTooLarge | NotHttp:
    if not isinstance(error, httptools.HttpParserCallbackError):
        return NotHttp(str(error).lower())
    cause = error.__context__  # of the parser's callbacks, only these two refuse anything
    return cause if isinstance(cause, HeadTooLarge) else NotHttp("invalid url")
