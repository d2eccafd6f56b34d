"""Tasks: create, list, read, replace, cancel, and what came of them."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, Response, delete, get, post, put
from litestar.di import Provide
from litestar.params import JSONBody

from domain.errors import TaskNotFound
from interfaces.http import documentation as doc
from interfaces.http.answers import ResultPage, Task, TaskPage
from interfaces.http.api import Api, command_request
from interfaces.http.as_of import AsOf, reflecting
from interfaces.http.bodies import TaskDefinition
from interfaces.http.injection import Injected
from interfaces.http.json_body import TaskBody, digest
from interfaces.http.parameters import NAMESPACE, Change, ChangeReason, CreationKey, Freshness, Prefer, TaskId
from interfaces.http.problem_types import (
    ARCHIVE_AWAY,
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_TASK,
    MALFORMED_JSON,
    TASK_ALREADY_OVER,
    TASK_NOT_FOUND,
    TOO_MUCH_HISTORY,
    UNSUPPORTED_MEDIA_TYPE,
    VERSION_MISMATCH,
)
from interfaces.http.selections import ResultSelection, TaskSelection, paging
from interfaces.http.written import Written

_BODY = (MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TASK)


class TaskController(Controller):
    """What is to be called, and when."""

    path = "/tasks"
    tags = ("tasks",)

    @post(
        "/",
        operation_id="createTask",
        summary="Create a task",
        description="Answers once lists show the task, or after two seconds; the task is stored either way.",
        dto=TaskBody,
        return_dto=None,
        response_headers=[doc.LOCATION, doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The task as it was accepted.",
        responses=doc.problems(*_BODY, IDEMPOTENCY_KEY_REUSED, DATABASE_UNAVAILABLE),
    )
    async def create_task(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[TaskDefinition],
        api: Injected[Api],
        idempotency_key: CreationKey = None,
        prefer: Prefer = None,
        x_change_reason: ChangeReason = None,
    ) -> Response[Task]:
        """Accept a new task."""
        definition = data.to_domain(api.options.default_timezone)
        body = b"" if idempotency_key is None else await request.body()
        asked = command_request(request, x_change_reason, idempotency_key, digest(body) if body else None)
        accepted = await api.parts.commands.create(definition, asked)
        return await api.created(accepted, prefer)

    @get(
        "/",
        operation_id="listTasks",
        summary="List tasks",
        dependencies={"selection": Provide(TaskSelection, sync_to_thread=False)},
        response_headers=[doc.REFLECTED_POSITION],
        response_description="The tasks that match, page by page.",
        responses=doc.problems(TOO_MUCH_HISTORY, *doc.READING, ARCHIVE_AWAY),
    )
    async def list_tasks(
        self,
        api: Injected[Api],
        selection: Injected[TaskSelection],
        freshness: Injected[Freshness],
        past: Injected[AsOf],
    ) -> Response[TaskPage]:
        """Tasks by status, kind of trigger, name and age."""
        query, moment = selection.query(), await api.moment(past)
        if moment is None:
            await api.reach(freshness.min_position)
            listing = await api.parts.queries.tasks(query, paging(selection))
        else:
            selection.check_past()
            listing = await api.parts.past.tasks(query, paging(selection), moment)
        return Response(TaskPage.of_listing(listing), headers=reflecting(moment))

    @get(
        "/{id:str}",
        operation_id="getTask",
        summary="Read a task",
        response_headers=[doc.ETAG, doc.REFLECTED_POSITION],
        response_description="The task as it stands, or stood.",
        responses=doc.problems(TASK_NOT_FOUND, *doc.READING, ARCHIVE_AWAY),
    )
    async def get_task(
        self,
        api: Injected[Api],
        task_id: TaskId,
        freshness: Injected[Freshness],
        past: Injected[AsOf],
    ) -> Response[Task]:
        """One task; its ETag is what If-Match takes."""
        moment = await api.moment(past)
        if moment is None:
            await api.reach(freshness.min_position)
            view = await api.parts.queries.task(NAMESPACE, task_id)
        else:
            view = await api.parts.past.task(NAMESPACE, task_id, moment)
        if view is None:
            raise await api.missing(task_id, moment)
        headers = {"ETag": f'"{view.version}"', **reflecting(moment)}
        return Written(Task.of_view(view), status_code=200, headers=headers)

    @put(
        "/{id:str}",
        operation_id="replaceTask",
        summary="Replace a task's definition",
        description="What is left out gets its default again. The next run is computed anew; an unchanged "
        "trigger keeps its place. A task that is over cannot change.",
        dto=TaskBody,
        return_dto=None,
        dependencies={"change": Provide(Change, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The task as it is from now on.",
        responses=doc.problems(
            *_BODY, TASK_NOT_FOUND, TASK_ALREADY_OVER, VERSION_MISMATCH, DATABASE_UNAVAILABLE
        ),
    )
    async def replace_task(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[TaskDefinition],
        api: Injected[Api],
        task_id: TaskId,
        change: Injected[Change],
    ) -> Response[Task]:
        """Replace the whole definition."""
        definition = data.to_domain(api.options.default_timezone)
        accepted = await api.parts.commands.update(
            task_id, definition, command_request(request, change.x_change_reason), if_match=change.version()
        )
        return await api.written(accepted, change.prefer, 200)

    @delete(
        "/{id:str}",
        operation_id="cancelTask",
        summary="Cancel a task",
        description="No further occurrence starts; what was done stays readable. Twice is no error.",
        status_code=200,
        dependencies={"change": Provide(Change, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The cancelled task.",
        responses=doc.problems(TASK_NOT_FOUND, TASK_ALREADY_OVER, VERSION_MISMATCH, DATABASE_UNAVAILABLE),
    )
    async def cancel_task(
        self,
        request: Request[Any, Any, Any],
        api: Injected[Api],
        task_id: TaskId,
        change: Injected[Change],
    ) -> Response[Task]:
        """Stop the task for good."""
        accepted = await api.parts.commands.cancel(
            task_id, command_request(request, change.x_change_reason), if_match=change.version()
        )
        return await api.written(accepted, change.prefer, 200)

    @get(
        "/{id:str}/results",
        operation_id="listTaskResults",
        summary="List a task's results",
        dependencies={"selection": Provide(ResultSelection, sync_to_thread=False)},
        response_description="The task's occurrences that match, page by page.",
        responses=doc.problems(TASK_NOT_FOUND, *doc.READING),
    )
    async def list_task_results(
        self,
        api: Injected[Api],
        task_id: TaskId,
        selection: Injected[ResultSelection],
        freshness: Injected[Freshness],
    ) -> ResultPage:
        """One row an occurrence: what happened, or why nothing did."""
        query = selection.query(task_id)
        await api.reach(freshness.min_position)
        if await api.parts.queries.task(NAMESPACE, task_id) is None:
            raise TaskNotFound(task_id)
        return ResultPage.of_listing(await api.parts.queries.results(query, paging(selection)))
