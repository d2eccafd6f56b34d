"""How far an attempt has come: what its transport tells its caller."""

from __future__ import annotations

import enum
from contextvars import ContextVar

import aiohttp


class Stage(enum.Enum):
    """What an attempt waits for; the value completes "waiting for …"."""

    SLOT = "a free connection: too many calls are under way, to this host or in all"
    CONNECTION = "the connection (name lookup and handshakes)"
    ANSWER = "the answer"
    BODY = "the rest of the body"


class Progress:
    """What it waits for, whether its connection had served another one, and the status, once there."""

    def __init__(self) -> None:
        self.stage = Stage.CONNECTION
        self.reused = False
        self.status: int | None = None


class Severed(aiohttp.ClientError):
    """The connection broke before the head of the answer was whole; `__cause__` says how."""

    def __init__(self, *, answer_began: bool) -> None:
        super().__init__("the connection broke")
        self.answer_began = answer_began


progress: ContextVar[Progress] = ContextVar("progress")
