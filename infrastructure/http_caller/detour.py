"""The way of an attempt that is not plain: a new connection, a turn to wait for, redirects, a repetition."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from application.ports import ResourcesExhausted
from domain.facts import Unanswered
from infrastructure.http_caller.answer import captured
from infrastructure.http_caller.failures import improper, internal_error, timed_out, unanswered
from infrastructure.http_caller.progress import Progress, Severed, Stage, progress
from infrastructure.http_caller.redirects import Astray, followed, too_many

if TYPE_CHECKING:
    import httpx

    from application.ports import Call
    from domain.facts import Answer
    from infrastructure.http_caller.connection import Connection
    from infrastructure.http_caller.deadlines import Deadlines
    from infrastructure.http_caller.outgoing import Outgoing
    from infrastructure.http_caller.wire import Wire

LEAST_STATUS = 100


class Detour:
    """Goes it, over the wire or over what tests put in its place."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        wire: Wire | None,
        deadlines: Deadlines,
        *,
        max_body_bytes: int,
        max_header_bytes: int,
    ) -> None:
        """`wire` is the transport, if that tells how far it has come."""
        self._transport = transport
        self._wire = wire
        self._deadlines = deadlines
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes

    async def answer(
        self, call: Call, request: Outgoing, until: float, begun: tuple[Progress, Connection] | None
    ) -> Answer | ResourcesExhausted:
        """What a request brings by some moment of the event loop's time, or why this machine cannot send it.

        `begun`: it has been made on this connection already. Raises nothing but cancellation, which closes
        the connection.
        """
        action = call.action
        # What does not tell whether it has sent something is taken to have sent it.
        state, connection = begun or (
            Progress(request, action.connect_timeout_seconds, fresh=call.once, sent=self._wire is None),
            None,
        )
        progress.set(state)
        deadline = self._deadlines.within(until - asyncio.get_running_loop().time())
        try:
            with deadline:
                return await self._exchange(request, action.max_redirects, state, connection)
        except ResourcesExhausted as error:
            return error.with_traceback(None)  # which would keep what it refers to
        except Astray as error:
            return Unanswered(error=str(error), retryable=False)
        except Exception as error:
            if deadline.expired:
                return timed_out(action.timeout_seconds, state)
            return unanswered(error, state) or internal_error(error, sent=state.sent)
        finally:
            del state.request  # what was opened on the way keeps its context, and that the state

    async def _exchange(
        self, request: httpx.Request, max_redirects: int, state: Progress, connection: Connection | None
    ) -> Answer:
        while True:
            response = await self._send(request, state, connection)
            try:
                state.stage, state.status = Stage.BODY, response.status_code
                if response.status_code < LEAST_STATUS:
                    return improper(f"its status is {response.status_code}", state)
                if not (max_redirects and response.has_redirect_location):
                    return await captured(response, self._max_body_bytes, self._max_header_bytes)
                if state.redirects == max_redirects:
                    raise too_many(request)
                request, connection = followed(request, response), None
            finally:
                await response.aclose()
            state.redirected_to(request)

    async def _send(
        self, request: httpx.Request, state: Progress, connection: Connection | None
    ) -> httpx.Response:
        try:
            if connection is not None and self._wire is not None:
                return await self._wire.answer(request, connection)
            return await self._transport.handle_async_request(request)
        except Severed as error:
            if error.answer_began or not state.reused:
                raise
        # The server had given up the idle connection: ADR 5 says why this is still the same attempt.
        state.fresh = True
        return await self._transport.handle_async_request(request)
