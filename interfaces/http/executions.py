"""Executions and their results: list, read, cancel."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.di import Provide
from litestar.params import JSONBody, PathParameter

from domain.errors import ExecutionNotFound
from interfaces.http import documentation as doc
from interfaces.http.answers import Result, ResultPage
from interfaces.http.api import Api, command_request
from interfaces.http.bodies import Cancelling
from interfaces.http.body_errors import JsonBody
from interfaces.http.parameters import (
    NAMESPACE,
    AnyTaskResultSelection,
    Freshness,
    Injected,
    MinPosition,
    Preference,
    ResultId,
    paging,
)
from interfaces.http.problems import (
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    EXECUTION_ALREADY_OVER,
    EXECUTION_NOT_FOUND,
    INVALID_BODY,
    MALFORMED_JSON,
    RESULT_NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
    ResultNotFound,
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


class ResultController(Controller):
    """Calls and their outcomes."""

    path = "/results"
    tags = ("results",)

    @get(
        "/",
        operation_id="listResults",
        summary="List results",
        dependencies={"selection": Provide(AnyTaskResultSelection, sync_to_thread=False)},
        response_description="The occurrences that match, page by page.",
        responses=doc.problems(*doc.READING),
    )
    async def list_results(
        self,
        api: Injected[Api],
        selection: Injected[AnyTaskResultSelection],
        freshness: Injected[Freshness],
    ) -> ResultPage:
        """Results by task, outcome, status code and due instant."""
        query = selection.query(selection.task_id)
        await api.reach(freshness.min_position)
        return ResultPage.of_listing(await api.parts.queries.results(query, paging(selection)))

    @get(
        "/{id:str}",
        operation_id="getResult",
        summary="Read a result",
        response_description="The occurrence as it stands.",
        responses=doc.problems(RESULT_NOT_FOUND, *doc.READING),
    )
    async def get_result(
        self, api: Injected[Api], result_id: ResultId, min_position: MinPosition = None
    ) -> Result:
        """One occurrence, with all its attempts."""
        await api.reach(min_position)
        view = await api.parts.queries.result(NAMESPACE, result_id)
        if view is None:
            raise ResultNotFound(result_id)
        return Result.of_view(view)
