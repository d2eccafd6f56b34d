"""One attempt: made ready ahead, sent at its instant, and told of when there is time.

At the instant little is done, for between two of them other processes have had the processor's cache.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from application.ports import ResourcesExhausted
from domain.facts import Attempt, Unanswered
from infrastructure.http_caller.answer import answered
from infrastructure.http_caller.detour import LEAST_STATUS
from infrastructure.http_caller.failures import internal_error, no_room, timed_out
from infrastructure.http_caller.progress import Progress, Stage
from infrastructure.http_caller.request import LARGE_BYTES, Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Call, Clock
    from domain.facts import Answer
    from infrastructure.http_caller.connection import Connection
    from infrastructure.http_caller.deadlines import Deadlines
    from infrastructure.http_caller.detour import Detour
    from infrastructure.http_caller.outgoing import Outgoing
    from infrastructure.http_caller.request import RequestFactory
    from infrastructure.http_caller.wire import Wire

REDIRECTS = range(300, 400)


class Tools(NamedTuple):
    """What all exchanges of a caller share; `wire` None: there is none, and all of them take the detour."""

    clock: Clock
    requests: RequestFactory
    deadlines: Deadlines
    wire: Wire | None
    detour: Detour
    max_body_bytes: int
    max_header_bytes: int


class Whole(NamedTuple):
    """An answer as it came: its status, the fields of its head and its body."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes


class HttpExchange:
    """`application.ports.Exchange`.

    Most go out on an idle connection and are answered whole, which takes no task; all others take the
    `Detour`. `at` is when the time of one under way is over, as its event loop counts.
    """

    __slots__ = (
        "_begun",
        "_call",
        "_connection",
        "_duration_ms",
        "_over",
        "_request",
        "_result",
        "_started_at",
        "_task",
        "_tools",
        "at",
    )

    def __init__(self, tools: Tools, call: Call) -> None:
        self._tools = tools
        self._call = call
        self._result: Answer | Whole | ResourcesExhausted | None = None
        self._connection: Connection | None = None
        self._task: asyncio.Task[Answer | ResourcesExhausted] | None = None
        request = self._made()
        # What is large is made when it is sent: thousands may wait.
        small = isinstance(request, Unanswered) or len(request.head) + len(request.content) <= LARGE_BYTES
        self._request = request if small else None

    def begin(self, over: Callable[[], None]) -> None:
        """See `application.ports.Exchange.begin`."""
        tools, call, loop = self._tools, self._call, asyncio.get_running_loop()
        self._over = over
        self._started_at = tools.clock.now()
        self._begun = time.monotonic()
        self.at = loop.time() + call.action.timeout_seconds
        self._request = request = self._request or self._made()
        if isinstance(request, Unanswered):
            loop.call_soon(self._end, request)
            return
        connection = None if call.once or tools.wire is None else tools.wire.take_idle(request.site)
        if connection is None:
            self._take_detour(request, None)
            return
        self._connection = connection
        tools.deadlines.begin(self)
        connection.begin(request.head + request.content, self._heard, of_head=request.method == "HEAD")

    def cancel(self) -> None:
        """See `application.ports.Exchange.cancel`."""
        if self._connection is not None:
            self._let_go(self._connection)
            self._tell()
        elif self._task is not None:
            self._task.cancel()

    def attempt(self) -> Attempt | None:
        """See `application.ports.Exchange.attempt`."""
        result = self._result
        if result is None:
            return None
        if isinstance(result, ResourcesExhausted):
            answer: Answer = no_room(result)
        else:
            answer = self._answer(result) if isinstance(result, Whole) else result
        return Attempt(
            number=self._call.number,
            started_at=self._started_at,
            duration_ms=self._duration_ms,
            answer=answer,
        )

    @property
    def exhausted(self) -> ResourcesExhausted | None:
        """See `application.ports.Exchange.exhausted`."""
        return self._result if isinstance(self._result, ResourcesExhausted) else None

    def expire(self) -> None:
        """Its time is over."""
        assert self._connection is not None
        state = self._progress(self._connection)
        self._let_go(self._connection)
        self._end(timed_out(self._call.action.timeout_seconds, state))

    def _made(self) -> Outgoing | Unanswered:
        """The request, or why there can be none."""
        try:
            return self._tools.requests.request(self._call)
        except Unsendable as error:
            return Unanswered(error=str(error), retryable=False, sent=False)
        except Exception as error:
            return internal_error(error, sent=False)

    def _answer(self, whole: Whole) -> Answer:
        try:
            return answered(*whole, self._tools.max_body_bytes, self._tools.max_header_bytes)
        except Exception as error:
            return internal_error(error, sent=True)

    def _heard(self) -> None:
        """There is news on the connection."""
        connection = self._connection
        if connection is None:
            return
        if self._is_plain(connection):
            if not connection.reading:
                whole = Whole(connection.status, connection.fields, connection.content())
                self._let_go(connection)
                self._end(whole)
            return
        state = self._progress(connection)
        self._tools.deadlines.discard(self)
        self._connection = None
        assert not isinstance(self._request, Unanswered | None)
        self._take_detour(self._request, (state, connection))

    def _is_plain(self, connection: Connection) -> bool:
        """Whether what has come, or is about to, is all that there is to the answer."""
        status = connection.status
        return (
            connection.has_head
            and connection.error is None
            and status >= LEAST_STATUS
            and not (status in REDIRECTS and self._call.action.max_redirects)
        )

    def _let_go(self, connection: Connection) -> None:
        assert self._tools.wire is not None
        assert not isinstance(self._request, Unanswered | None)
        self._tools.deadlines.discard(self)
        self._connection = None
        self._tools.wire.give_back(self._request.site, connection)

    def _progress(self, connection: Connection) -> Progress:
        assert not isinstance(self._request, Unanswered | None)
        state = Progress(self._request, self._call.action.connect_timeout_seconds, fresh=False, sent=True)
        state.reused, state.stage = True, Stage.ANSWER
        if connection.has_head:
            state.stage, state.status = Stage.BODY, connection.status
        return state

    def _take_detour(self, request: Outgoing, begun: tuple[Progress, Connection] | None) -> None:
        way = self._tools.detour.answer(self._call, request, self.at, begun)
        # It has to begin: who is cancelled before would not give the connection back.
        self._task = asyncio.Task(way, loop=asyncio.get_running_loop(), eager_start=True)
        self._task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[Answer | ResourcesExhausted]) -> None:
        self._task = None
        if task.cancelled():
            self._tell()
        else:
            self._end(task.result())

    def _end(self, result: Answer | Whole | ResourcesExhausted) -> None:
        self._duration_ms = round((time.monotonic() - self._begun) * 1000)
        self._result = result
        self._request = None
        self._tell()

    def _tell(self) -> None:
        """Once: who is told refers to this, and is not to be kept until the garbage collector comes."""
        over = self._over
        del self._over
        over()
