"""Redacting tasks: erasing what they sent and received."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from litestar import Controller, Request, Response, post
from litestar.di import Provide
from litestar.params import HeaderParameter

from interfaces.http import documentation as doc
from interfaces.http.answers import Task
from interfaces.http.api import Api, command_request
from interfaces.http.injection import Injected
from interfaces.http.parameters import Change, TaskId
from interfaces.http.problem_types import (
    DATABASE_UNAVAILABLE,
    EXECUTIONS_ARCHIVED,
    EXECUTIONS_NOT_OVER,
    IDEMPOTENCY_KEY_REUSED,
    NOT_YET_VISIBLE,
    TASK_NOT_FOUND,
    TASK_NOT_OVER,
    VERSION_MISMATCH,
)


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
    """What is to be forgotten."""

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
