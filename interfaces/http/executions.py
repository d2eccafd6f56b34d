"""Single executions: read one, cancel one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.di import Provide
from litestar.params import JSONBody, PathParameter

from domain.errors import ExecutionNotFound
from interfaces.http import documentation as doc
from interfaces.http.answers import Result
from interfaces.http.api import Api, command_request
from interfaces.http.bodies import Cancelling
from interfaces.http.body_errors import JsonBody
from interfaces.http.parameters import NAMESPACE, Injected, MinPosition, Preference
from interfaces.http.problems import (
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    EXECUTION_ALREADY_OVER,
    EXECUTION_NOT_FOUND,
    INVALID_BODY,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
)

ExecutionId = Annotated[UUID, PathParameter(name="id", description="The id of an execution: a UUID.")]


_NOTHING_SAID = Cancelling()


class ExecutionController(Controller):
    """Executions under way, and the same results under the same ids."""

    path = "/executions"
    tags = ("results",)

    @get(
        "/{id:str}",
        operation_id="getExecution",
        summary="Read an execution",
        description="The same as the result of this id.",
        response_description="The execution as it stands.",
        responses=doc.problems(EXECUTION_NOT_FOUND, *doc.READING),
    )
    async def get_execution(
        self, api: Injected[Api], execution_id: ExecutionId, min_position: MinPosition = None
    ) -> Result:
        """One execution, with all its attempts."""
        await api.reach(min_position)
        view = await api.parts.queries.result(NAMESPACE, execution_id)
        if view is None:
            raise ExecutionNotFound(execution_id)
        return Result.of_view(view)

    @post(
        "/{id:str}/cancel",
        operation_id="cancelExecution",
        summary="Cancel an execution",
        description="A call in flight is broken off, and no further attempt is made; what the server did "
        "with the call is unknown. The task goes on, unless this was its last occurrence. Twice is no error. "
        "The body may be left out.",
        status_code=200,
        dto=JsonBody[Cancelling],
        return_dto=None,
        dependencies={"preference": Provide(Preference, sync_to_thread=False)},
        response_headers=[doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The cancelled execution.",
        responses=doc.problems(
            *(MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY),
            *(EXECUTION_NOT_FOUND, EXECUTION_ALREADY_OVER, DATABASE_UNAVAILABLE),
        ),
    )
    async def cancel_execution(
        self,
        request: Request[Any, Any, Any],
        api: Injected[Api],
        execution_id: ExecutionId,
        preference: Injected[Preference],
        data: JSONBody[Cancelling] = _NOTHING_SAID,
    ) -> Response[Result]:
        """Break it off."""
        asked = command_request(request, preference.x_change_reason)
        accepted = await api.parts.executions.cancel(execution_id, data.note, asked)
        return await api.written_execution(accepted, preference.prefer, 200)
