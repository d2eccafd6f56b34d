"""Answers that leave in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_GO_ON = b"HTTP/1.1 100 "


class WholeAnswers:
    """A connection's transport that sends the head of an answer together with the first piece of its body.

    uvicorn writes them one after the other, and each write is a system call, a packet and a wake-up of who
    reads. All else goes straight to the transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._body_follows = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Keep a head, and send it with what is written next."""
        if self._body_follows or data.startswith(_GO_ON):
            head, self._head = self._head, b""
            self._transport.write(head + data if head else data)
        else:
            self._head, self._body_follows = data, True

    def answered(self) -> None:
        """The answer is complete, with a body or without one; what is written next is a head again."""
        self.flush()
        self._body_follows = False

    def flush(self) -> None:
        """Send a head that is kept."""
        if self._head:
            self.write(b"")

    def write_eof(self) -> None:
        """Send what is kept, and close this direction."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send what is kept, and close."""
        self.flush()
        self._transport.close()
