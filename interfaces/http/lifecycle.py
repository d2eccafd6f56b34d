"""The life of a task: pause, resume, run now, run what was not."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from litestar import Controller, Request, Response, post
from litestar.di import Provide
from litestar.params import JSONBody

from interfaces.http import documentation as doc
from interfaces.http.answers import Result, Task
from interfaces.http.api import Api, command_request
from interfaces.http.command_bodies import Backfilling, BackfillingBody, Pausing, PausingBody
from interfaces.http.execution_answers import Backfill
from interfaces.http.injection import Injected
from interfaces.http.parameters import Change, Preference, TaskId, Trigger
from interfaces.http.problem_types import (
    ARCHIVE_AWAY,
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_BODY,
    MALFORMED_JSON,
    MONTH_ARCHIVED,
    TASK_ALREADY_OVER,
    TASK_NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
    VERSION_MISMATCH,
)

_BODY = (MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY)
_NOTHING_SAID = Pausing()
_TASK = (TASK_NOT_FOUND, TASK_ALREADY_OVER, DATABASE_UNAVAILABLE)


class LifecycleController(Controller):
    """What a task does beside its schedule."""

    path = "/tasks"
    tags = ("tasks",)

    @post(
        "/{id:str}/pause",
        operation_id="pauseTask",
        summary="Pause a task",
        description="No further occurrence starts until the task is resumed; what runs goes on, and so do "
        "its retries. The task keeps its place. Twice is no error. The body may be left out.",
        status_code=200,
        dto=PausingBody,
        return_dto=None,
        dependencies={"change": Provide(Change, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The paused task.",
        responses=doc.problems(*_BODY, *_TASK, VERSION_MISMATCH),
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
        dto=BackfillingBody,
        return_dto=None,
        dependencies={"preference": Provide(Preference, sync_to_thread=False)},
        response_headers=[doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="What will run.",
        responses=doc.problems(*_BODY, *_TASK, MONTH_ARCHIVED, ARCHIVE_AWAY),
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
    """What a key of this request stands for."""
    return hashlib.sha256(f"trigger {task_id}".encode()).hexdigest()
