"""Tasks: create, list, read, replace, cancel, and what came of them."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, post, put
from litestar.di import Provide
from litestar.params import HeaderParameter, JSONBody

from domain.errors import TaskNotFound
from interfaces.http import documentation as doc
from interfaces.http.answers import Backfill, Result, ResultPage, Task, TaskPage
from interfaces.http.api import Api, Written, command_request
from interfaces.http.bodies import Backfilling, Pausing, TaskDefinition
from interfaces.http.body_errors import JsonBody, digest
from interfaces.http.parameters import (
    NAMESPACE,
    AsOf,
    Change,
    ChangeReason,
    CreationKey,
    Freshness,
    Injected,
    Prefer,
    Preference,
    ResultSelection,
    TaskId,
    TaskSelection,
    Trigger,
    paging,
    reflecting,
)
from interfaces.http.problems import (
    ARCHIVE_AWAY,
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    EXECUTIONS_ARCHIVED,
    EXECUTIONS_NOT_OVER,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_BODY,
    INVALID_TASK,
    MALFORMED_JSON,
    MONTH_ARCHIVED,
    NOT_YET_VISIBLE,
    TASK_ALREADY_OVER,
    TASK_NOT_FOUND,
    TASK_NOT_OVER,
    TOO_MUCH_HISTORY,
    UNSUPPORTED_MEDIA_TYPE,
    VERSION_MISMATCH,
)

_ANY_BODY = (MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY)
_NOTHING_SAID = Pausing()
_TASK = (TASK_NOT_FOUND, TASK_ALREADY_OVER, DATABASE_UNAVAILABLE)


class LifecycleController(Controller):
    """Commands beside a task's schedule."""

    path = "/tasks"
    tags = ("tasks",)

    @post(
        "/{id:str}/pause",
        operation_id="pauseTask",
        summary="Pause a task",
        description="No further occurrence starts until the task is resumed; what runs goes on, and so do "
        "its retries. The task keeps its place. Twice is no error. The body may be left out.",
        status_code=200,
        dto=JsonBody[Pausing],
        return_dto=None,
        dependencies={"change": Provide(Change, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The paused task.",
        responses=doc.problems(*_ANY_BODY, *_TASK, VERSION_MISMATCH),
    )
    async def pause_task(
        self,
        request: Request[Any, Any, Any],
        api: Injected[Api],
        task_id: TaskId,
        change: Injected[Change],
        data: JSONBody[Pausing] = _NOTHING_SAID,
    ) -> Response[Task]:
        """Start nothing until it is resumed."""
        accepted = await api.parts.commands.pause(
            task_id, data.note, command_request(request, change.x_change_reason), if_match=change.version()
        )
        return await api.written(accepted, change.prefer, 200)

    @post(
        "/{id:str}/resume",
        operation_id="resumeTask",
        summary="Resume a task",
        description="The task goes on from where it stood: the latest occurrence that fell into the pause "
        "runs, the older ones are recorded as skipped. Twice is no error.",
        status_code=200,
        dependencies={"change": Provide(Change, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The task, scheduled again.",
        responses=doc.problems(*_TASK, VERSION_MISMATCH),
    )
    async def resume_task(
        self, request: Request[Any, Any, Any], api: Injected[Api], task_id: TaskId, change: Injected[Change]
    ) -> Response[Task]:
        """Go on after a pause."""
        accepted = await api.parts.commands.resume(
            task_id, command_request(request, change.x_change_reason), if_match=change.version()
        )
        return await api.written(accepted, change.prefer, 200)

    @post(
        "/{id:str}/trigger",
        operation_id="triggerTask",
        summary="Run a task now",
        description="Beside its schedule, which stays as it is; a paused task may be run, one that is over "
        "may not. With an `Idempotency-Key` a repeat answers with the execution of the first time.",
        status_code=202,
        dependencies={"trigger": Provide(Trigger, sync_to_thread=False)},
        response_headers=[doc.EXECUTION_LOCATION, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The execution, to be made by the next scheduler that is free.",
        responses=doc.problems(*_TASK, VERSION_MISMATCH, IDEMPOTENCY_KEY_REUSED),
    )
    async def trigger_task(
        self, request: Request[Any, Any, Any], api: Injected[Api], task_id: TaskId, trigger: Injected[Trigger]
    ) -> Response[Result]:
        """Run it once, now."""
        asked = command_request(request, trigger.x_change_reason, trigger.idempotency_key, _digest(task_id))
        accepted = await api.parts.executions.trigger(task_id, asked, if_match=trigger.version())
        return await api.written_execution(accepted, trigger.prefer, 202)

    @post(
        "/{id:str}/backfill",
        operation_id="backfillTask",
        summary="Run what was not",
        description="Runs the occurrences of a period of the past, by the schedule as it is now, that have "
        "not run: those that were skipped, and those from before the task was there. What ran, or runs, is "
        "never repeated, so repeating this request is safe. Continue at `next_start`.",
        status_code=202,
        dto=JsonBody[Backfilling],
        return_dto=None,
        dependencies={"preference": Provide(Preference, sync_to_thread=False)},
        response_headers=[doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="What will run.",
        responses=doc.problems(*_ANY_BODY, *_TASK, MONTH_ARCHIVED, ARCHIVE_AWAY),
    )
    async def backfill_task(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[Backfilling],
        api: Injected[Api],
        task_id: TaskId,
        preference: Injected[Preference],
    ) -> Response[Backfill]:
        """Run occurrences of the past."""
        period = data.period(datetime.now(UTC))
        asked = command_request(request, preference.x_change_reason)
        done = await api.parts.executions.backfill(task_id, period, asked)
        headers = {} if done.position is None else await api.settled(done.position, preference.prefer)
        return Response(Backfill.of_backfilled(done), status_code=202, headers=headers)


def _digest(task_id: UUID) -> str:
    """The digest that a key of this request stands for."""
    return hashlib.sha256(f"trigger {task_id}".encode()).hexdigest()


class Redaction(Change, frozen=True, kw_only=True):
    """On what condition, and how, a task is to be redacted."""

    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            min_length=1,
            pattern=r"^[!-~]{1,255}$",
            description="Makes repeating this request safe, as it is without: the same key answers with the "
            "task. 1 to 255 visible ASCII characters without blanks.",
        ),
    ] = None


class RedactionController(Controller):
    """Erasure of personal data."""

    path = "/tasks"
    tags = ("tasks",)

    @post(
        "/{id:str}/redact",
        operation_id="redactTask",
        summary="Erase a task's payloads, headers and bodies",
        description="For good, in the log as well, of a task that is over and of all its executions: what is "
        "erased reads as `[redacted]`. Names, instants, statuses and durations stay, and the log proves them "
        "as before. Twice is no error: what is not erased yet is erased then.",
        status_code=200,
        dependencies={"redaction": Provide(Redaction, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The redacted task.",
        responses=doc.problems(
            *(TASK_NOT_FOUND, TASK_NOT_OVER, EXECUTIONS_NOT_OVER, EXECUTIONS_ARCHIVED, VERSION_MISMATCH),
            *(IDEMPOTENCY_KEY_REUSED, NOT_YET_VISIBLE, DATABASE_UNAVAILABLE),
        ),
    )
    async def redact_task(
        self,
        request: Request[Any, Any, Any],
        api: Injected[Api],
        task_id: TaskId,
        redaction: Injected[Redaction],
    ) -> Response[Task]:
        """Erase what it holds."""
        digest = hashlib.sha256(f"redact {task_id}".encode()).hexdigest()
        asked = command_request(request, redaction.x_change_reason, redaction.idempotency_key, digest)
        accepted = await api.parts.redactions.redact(task_id, asked, if_match=redaction.version())
        return await api.written(accepted, redaction.prefer, 200)


_TASK_BODY = (MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TASK)


class TaskController(Controller):
    """Definitions of tasks."""

    path = "/tasks"
    tags = ("tasks",)

    @post(
        "/",
        operation_id="createTask",
        summary="Create a task",
        description="Answers once lists show the task, or after two seconds; the task is stored either way.",
        dto=JsonBody[TaskDefinition],
        return_dto=None,
        response_headers=[doc.LOCATION, doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The task as it was accepted.",
        responses=doc.problems(*_TASK_BODY, IDEMPOTENCY_KEY_REUSED, DATABASE_UNAVAILABLE),
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
        dto=JsonBody[TaskDefinition],
        return_dto=None,
        dependencies={"change": Provide(Change, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The task as it is from now on.",
        responses=doc.problems(
            *_TASK_BODY, TASK_NOT_FOUND, TASK_ALREADY_OVER, VERSION_MISMATCH, DATABASE_UNAVAILABLE
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
