"""One connection to a server: one request after the other is made on it, and its answer taken.

Answers are parsed by httptools, which is llhttp, the parser of Node.js.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from infrastructure.http_caller.bounds import TOO_LONG, TOO_MANY_HEADERS, TOO_MUCH, Bounds, complaint
from infrastructure.http_caller.progress import CutShort, Improper, Severed

if TYPE_CHECKING:
    from collections.abc import Callable

# On a connection that was idle the system takes this little at once.
LITTLE = 16 * 1024
SWITCHING_PROTOCOLS = 101
# What the parser gathers of one field it copies for every part of it: looked at in time, it costs little.
SLICE = 16 * 1024
INFORMATIONAL = frozenset(range(100, 200)) - {SWITCHING_PROTOCOLS}


class Connection(asyncio.Protocol):
    """The end of a connection that makes requests.

    Of the answer under way: `status` and `fields` once its head is there, and whether it is `whole`.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._over = self._loop.create_future()
        self._told: Callable[[], None] | None = None
        self.reading = self.has_head = self._has_news = False
        self._spoke = self._lasting = self._sent_much = self._asked = False
        self._early = b""
        self.error: Exception | None = None
        self.whole = self.for_one_request = False
        self.idle_since = 0.0

    @property
    def lost(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport is None or self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether another request may be made: nothing is left on it from either side."""
        return (
            self.whole
            and self._lasting
            and not (self._spoke or self.for_one_request or self.lost)
            and not (self._sent_much and self._is_sending())
        )

    def begin(self, request: bytes, told: Callable[[], None], *, of_head: bool) -> None:
        """Send a request. `told` is called once the head of its answer has come, and all of it, or an error.

        `of_head`: it is a HEAD, whose answer has no body. What is only informational is passed over.
        Raises `Severed` and `Improper` when it is not sent.
        """
        self._told = told
        self.status, self.fields = 0, list[tuple[bytes, bytes]]()
        self._of_head = of_head
        self._body, self._body_bytes, self._bytes, self._field_count = list[bytes](), 0, 0, 0
        self._quiet_bytes = 0
        self.has_head = self._has_chunks = self.whole = False
        self.error = None
        self._complaint: str | None = None
        self._sent_much = len(request) > LITTLE
        if self._spoke:
            raise Improper(TOO_MUCH)  # and that before anything was asked
        if self.lost and not self._early:
            raise Severed(answer_began=False)
        if self._parser is None:
            self._parser = self._new_parser()
        self.reading = self._asked = True
        if self._transport is not None:
            self._transport.write(request)
        if self._early:
            self._answer_early()

    async def ask(self, request: bytes, *, of_head: bool) -> None:
        """Send a request and wait for the head of its answer, as `begin` and `head` do."""
        self.begin(request, self._wake, of_head=of_head)
        await self.head()

    async def head(self) -> None:
        """Wait for the head of the answer. Raises `Severed`, `Improper` and `TimeoutError`."""
        if not self.has_head and self.error is None:
            await self._news()
        if not self.has_head:
            assert self.error is not None
            raise self.error

    async def body(self) -> bytes:
        """The body, or one byte more of it than the bound. Raises `CutShort` and `TimeoutError`."""
        if self.reading:
            await self._news()
        if self.error is not None:
            raise self.error
        return self.content()

    def content(self) -> bytes:
        """As much of the body as has come, and one byte more of it than the bound at most."""
        return b"".join(self._body)[: self._bounds.body + 1]

    def close(self) -> None:
        """Close the connection, once what was written has been sent."""
        self.reading, self.error, self._told = False, None, None  # which would refer to us, and we to it
        if self._transport is not None:
            self._transport.close()

    async def abort(self) -> None:
        """Close the connection at once, and wait until it is."""
        if self._transport is not None:
            self._transport.abort()
        await self._over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol.connection_made`."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol.connection_lost`."""
        self._transport = self._parser = None
        if self.reading:
            self._ended(exc)
            self._tell()
        if not self._over.done():
            self._over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        if self.reading and len(data) <= SLICE:
            self._feed(data)
        elif self.reading:
            for start in range(0, len(data), SLICE):
                self._feed(data[start : start + SLICE])
        elif not self._asked and len(self._early) <= self._bounds.field:
            self._early += data
        else:
            self._spoke = True
        self._tell()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser has read a field of a head, or of a trailer, which nobody asks for."""
        self._field_count += 1
        self._quiet_bytes = 0
        if self._field_count > self._bounds.fields:
            self._complaint = TOO_MANY_HEADERS
        elif len(name) + len(value) > self._bounds.field:
            self._complaint = TOO_LONG
        if self._complaint is not None:
            raise ValueError(self._complaint)
        if not self.has_head:
            self.fields.append((name.rstrip(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The parser has read a head."""
        if self.has_head or self._parser is None:
            return  # it is of another answer, which nobody asked for
        status = self._parser.get_status_code()
        if status in INFORMATIONAL:
            self.fields, self._field_count = [], 0
            return
        self.status, self.has_head = status, True
        self._quiet_bytes = 0
        self._lasting = status != SWITCHING_PROTOCOLS and self._parser.should_keep_alive()
        if self._of_head:
            self.whole, self.reading = True, False
            self._parser = None  # which waits for a body
        self._has_news = True

    def on_chunk_header(self) -> None:
        """The parser has read the size of a chunk."""
        self._has_chunks = True
        self._quiet_bytes = 0

    def on_body(self, data: bytes) -> None:
        """The parser has read a part of the body."""
        self._quiet_bytes = 0
        if not self.reading:
            self._spoke = True
            return
        self._body_bytes += len(data)
        self._body.append(data)
        if self._body_bytes > self._bounds.body:
            self.reading = False
            self._has_news = True

    def on_message_begin(self) -> None:
        """The parser has read the first byte of an answer."""
        self._spoke = self._spoke or not self.reading

    def on_message_complete(self) -> None:
        """The parser has read all of an answer."""
        if self.has_head and self.reading and self._parser is not None:
            # A trailer may say, too, that the connection ends here.
            self._lasting = self._lasting and self._parser.should_keep_alive()
            self.whole, self.reading = True, False
            self._has_news = True

    def _feed(self, data: bytes) -> None:
        if not self.reading or self._parser is None:
            self._spoke = True
            return
        self._bytes += len(data)
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._failed(self._complaint or complaint(error))
        except httptools.HttpParserUpgrade:
            self._spoke = True
        bound = self._bounds.beside_body if self.has_head else self._bounds.head
        if self._quiet_bytes > self._bounds.field + SLICE:
            self._failed(TOO_LONG)
        elif self._bytes - self._body_bytes > bound:
            self._failed(TOO_MUCH)

    def _answer_early(self) -> None:
        """A server that has no room may say so before it is asked."""
        early, self._early = self._early, b""
        self.data_received(early)
        if self._transport is None and self.reading:
            self._ended(None)
            self._tell()

    def _new_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self)
        # As lenient as clients are that are not to be tricked by whom they ask.
        parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        return parser

    async def _news(self) -> None:
        """Wait until there is more of the answer."""
        self._told = self._wake
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell(self) -> None:
        """Not from within the parser, for who is told may send the next request."""
        if self._has_news and self._told is not None:
            self._has_news = False
            self._told()
            if not self.reading:
                self._told = None

    def _failed(self, complaint: str) -> None:
        """What came is no answer."""
        if self.reading:
            self.error = CutShort(complaint) if self.has_head else Improper(complaint)
        self.reading, self._spoke = False, True
        if self._transport is not None:
            self._transport.close()
        self._has_news = True

    def _ended(self, error: Exception | None) -> None:
        """The connection ended under an answer, which only some bodies take for their end."""
        self.reading = False
        if isinstance(error, TimeoutError):  # the server was silent for long, not gone: nothing is sent again
            self.error = error
        elif not self.has_head:
            self.error = Severed(answer_began=self._bytes > 0)
            self.error.__cause__ = error
        elif error is None and not self._is_framed():
            self.whole = True
        else:
            self.error = CutShort("the connection closed in the middle of the body")
            self.error.__cause__ = error
        self._has_news = True

    def _is_framed(self) -> bool:
        """Whether the body has an end of its own (RFC 9112, 6.3), as the parser sees it."""
        lengths = [value for name, value in self.fields if name.lower() == b"content-length"]
        codings = [value for name, value in self.fields if name.lower() == b"transfer-encoding"]
        if not codings or self._has_chunks:
            return bool(lengths or codings)
        return not self._body_bytes and codings[-1].lower().endswith(b"chunked")

    def _is_sending(self) -> bool:
        """Whether the server may have yet to take something of what it was sent: TLS does not tell."""
        assert self._transport is not None
        encrypted = self._transport.get_extra_info("sslcontext") is not None
        return encrypted or self._transport.get_write_buffer_size() > 0
