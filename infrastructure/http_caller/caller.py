"""The caller: one attempt, one request, one answer or one sentence saying why there is none."""

from __future__ import annotations

import time
import traceback
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

import structlog

from domain.attempt import Attempt, Unanswered
from infrastructure.http_caller.answer import captured
from infrastructure.http_caller.deadlines import Deadlines
from infrastructure.http_caller.failures import improper, timed_out, unanswered
from infrastructure.http_caller.progress import Progress, Severed, Stage, progress
from infrastructure.http_caller.redirects import Astray, followed, too_many
from infrastructure.http_caller.request import RequestFactory, Unsendable
from infrastructure.http_caller.transport import aiohttp_transport, trusted_certificates

if TYPE_CHECKING:
    import httpx

    from application.ports import Call, Clock
    from domain.attempt import Answer

LEAST_STATUS = 100

log = structlog.get_logger(__name__)


class AiohttpCaller:
    """`application.ports.HttpCaller` over aiohttp, as httpx sees it.

    At most `max_concurrency` calls are on the wire, and `max_per_host` to one host and port, so that one slow
    host leaves room for others; a call that waits for its turn does so within its own timeout.
    `transport` takes the place of the network, in tests.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        max_concurrency: int = 300,
        max_per_host: int = 100,
        max_body_bytes: int = 65_536,
        max_header_bytes: int = 32_768,
        user_agent: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes
        self._requests = RequestFactory(user_agent or f"chronoledger/{version('chronoledger')}")
        self._deadlines = Deadlines()
        self._reports_progress = transport is None
        self._transport = transport or aiohttp_transport(
            trusted_certificates(),
            max_concurrency=max_concurrency,
            max_per_host=max_per_host,
            max_body_bytes=max_body_bytes,
            max_header_bytes=max_header_bytes,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        await self._transport.aclose()
        self._deadlines.close()

    async def call(self, call: Call) -> Attempt:
        """Send the request once, and on to where redirects lead, and tell what happened.

        All of it lies within the action's `timeout_seconds`. Raises nothing but cancellation, which closes
        the connection.
        """
        started_at = self._clock.now()
        begun = time.monotonic()
        answer = await self._answer(call)
        duration_ms = round((time.monotonic() - begun) * 1000)
        return Attempt(number=call.number, started_at=started_at, duration_ms=duration_ms, answer=answer)

    async def _answer(self, call: Call) -> Answer:
        action = call.action
        try:
            request = self._requests.request(call)
        except Unsendable as error:
            return Unanswered(error=str(error), retryable=False, sent=False)
        except Exception as error:
            return internal_error(error, sent=False)
        # What does not tell whether it has sent something is taken to have sent it.
        sent = not self._reports_progress
        state = Progress(request, action.connect_timeout_seconds, fresh=call.once, sent=sent)
        progress.set(state)
        deadline = self._deadlines.within(action.timeout_seconds)
        try:
            with deadline:
                return await self._exchange(request, action.max_redirects, state)
        except Astray as error:
            return Unanswered(error=str(error), retryable=False)
        except Exception as error:
            if deadline.expired:
                return timed_out(action.timeout_seconds, state)
            return unanswered(error, state) or internal_error(error, sent=state.sent)

    async def _exchange(self, request: httpx.Request, max_redirects: int, state: Progress) -> Answer:
        while True:
            response = await self._send(request, state)
            try:
                state.stage, state.status = Stage.BODY, response.status_code
                if response.status_code < LEAST_STATUS:
                    return improper(f"its status is {response.status_code}", state)
                if not (max_redirects and response.has_redirect_location):
                    return await captured(response, self._max_body_bytes, self._max_header_bytes)
                if state.redirects == max_redirects:
                    raise too_many(request)
                request = followed(request, response)
            finally:
                await response.aclose()
            state.redirected_to(request)

    async def _send(self, request: httpx.Request, state: Progress) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except Severed as error:
            if error.answer_began or not state.reused:
                raise
        # The server had given up the idle connection: ADR 5 says why this is still the same attempt.
        state.fresh = True
        return await self._transport.handle_async_request(request)


def internal_error(error: Exception, *, sent: bool) -> Unanswered:
    """A mistake of ours: told and logged, by type and place only, for the message may quote the request."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    name = type(error).__name__
    log.error("http_caller_failed", error=name, where=f"{frame.filename}:{frame.lineno}")
    return Unanswered(error=f"internal error: {name}", retryable=False, sent=sent)
