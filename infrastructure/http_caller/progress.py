"""How far an attempt has come: what its transport tells its caller."""

from __future__ import annotations

import enum
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


class Stage(enum.Enum):
    """What an attempt waits for; the value completes "waiting for …"."""

    SLOT = "a free connection: too many calls are under way, to this host or in all"
    CONNECTION = "the connection (name lookup and handshakes)"
    ANSWER = "the answer"
    BODY = "the rest of the body"


class Progress:
    """What an attempt asks of its connections, and how far it has come.

    `fresh`: they must not have served another request. `request` is the one that is made now, after so many
    `redirects`; `reused`: its connection has served another request; `sent` False: nothing was handed to any
    connection yet; `status`: of its answer, once there.
    """

    __slots__ = (
        "connect_timeout_seconds",
        "fresh",
        "redirects",
        "request",
        "reused",
        "sent",
        "stage",
        "status",
    )

    def __init__(
        self, request: httpx.Request, connect_timeout_seconds: float | None, *, fresh: bool, sent: bool
    ) -> None:
        self.request = request
        self.connect_timeout_seconds = connect_timeout_seconds
        self.fresh = fresh
        self.sent = sent
        self.stage = Stage.CONNECTION
        self.reused = False
        self.redirects = 0
        self.status: int | None = None

    @property
    def url(self) -> httpx.URL:
        """What is called now: parsed only for those who ask."""
        return self.request.url

    def redirected_to(self, request: httpx.Request) -> None:
        """The answer was a redirect, which is followed."""
        self.request, self.status = request, None
        self.redirects += 1


class Severed(Exception):
    """The connection broke before the head of the answer was whole; `__cause__`: the system's error, if any.

    `answer_began`: something of it had come, or a 1xx: the server has had the request.
    """

    def __init__(self, *, answer_began: bool) -> None:
        super().__init__("the connection broke")
        self.answer_began = answer_began


class Improper(Exception):
    """What came is no HTTP answer; the message says why, and quotes nothing of it."""


class CutShort(Exception):
    """The body of an answer broke off; the message says how, unless `__cause__`, the system's error, does."""


class NotConnected(Exception):
    """There was no connection within so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no connection within {seconds:g} s")
        self.seconds = seconds


progress: ContextVar[Progress] = ContextVar("progress")
