"""The revisions of a task's definition: list them, read one, compare two."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.di import Provide
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from msgspec import Struct

from interfaces.http import documentation as doc
from interfaces.http.answers import Task
from interfaces.http.api import Api, command_request
from interfaces.http.command_bodies import HIGHEST_NUMBER, RollingBack, RollingBackBody
from interfaces.http.injection import Injected
from interfaces.http.parameters import NAMESPACE, Change, TaskId
from interfaces.http.problem_types import (
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_BODY,
    MALFORMED_JSON,
    REVISION_INADMISSIBLE,
    REVISION_IS_CURRENT,
    REVISION_NOT_FOUND,
    REVISION_REDACTED,
    TASK_ALREADY_OVER,
    TASK_NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
    VERSION_MISMATCH,
)
from interfaces.http.revision_answers import Diff, Revision, RevisionPage

NUMBER = "a whole number from 1"

RevisionNumber = Annotated[
    int,
    PathParameter(name="number", ge=1, le=HIGHEST_NUMBER, description=f"The number of a revision: {NUMBER}."),
]


class RevisionSelection(Struct, frozen=True, kw_only=True):
    """Which revisions."""

    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Revisions on a page: a whole number from 1 to 200.")
    ] = 50
    before: Annotated[
        int | None,
        QueryParameter(
            ge=1,
            le=HIGHEST_NUMBER,
            description=f"Only revisions before this one: {NUMBER}, the `next_before` of a page.",
        ),
    ] = None


class Comparison(Struct, frozen=True, kw_only=True):
    """Which two revisions."""

    from_: Annotated[
        int | None,
        QueryParameter(
            name="from",
            ge=1,
            le=HIGHEST_NUMBER,
            description=f"The number of a revision, the one before `to` when left out: {NUMBER}.",
        ),
    ] = None
    to: Annotated[
        int | None,
        QueryParameter(
            ge=1,
            le=HIGHEST_NUMBER,
            description=f"The number of a revision, the latest when left out: {NUMBER}.",
        ),
    ] = None


class Rollback(Change, frozen=True, kw_only=True):
    """On what condition, and how, a task is to be rolled back."""

    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            min_length=1,
            pattern=r"^[!-~]{1,255}$",
            description="Makes repeating this request safe: the same key with the same revision changes "
            "nothing further, and answers with the task as it is. 1 to 255 visible ASCII characters without "
            "blanks.",
        ),
    ] = None


class RevisionController(Controller):
    """What a task was, and what was changed about it."""

    path = "/tasks"
    tags = ("history",)

    @get(
        "/{id:str}/revisions",
        operation_id="listRevisions",
        summary="List a task's revisions",
        dependencies={"selection": Provide(RevisionSelection, sync_to_thread=False)},
        response_description="Its revisions, the latest first.",
        responses=doc.problems(TASK_NOT_FOUND, DATABASE_UNAVAILABLE),
    )
    async def list_revisions(
        self, api: Injected[Api], task_id: TaskId, selection: Injected[RevisionSelection]
    ) -> RevisionPage:
        """Every definition that the task had: since when, by whom, and what was changed."""
        found = await api.parts.revisions.all(NAMESPACE, task_id)
        return RevisionPage.of(found, selection.before, selection.limit)

    @get(
        "/{id:str}/revisions/{number:str}",
        operation_id="getRevision",
        summary="Read a revision",
        response_description="The revision, with the whole definition.",
        responses=doc.problems(TASK_NOT_FOUND, REVISION_NOT_FOUND, DATABASE_UNAVAILABLE),
    )
    async def get_revision(self, api: Injected[Api], task_id: TaskId, number: RevisionNumber) -> Revision:
        """The task as it was defined then."""
        return Revision.of(await api.parts.revisions.one(NAMESPACE, task_id, number))

    @get(
        "/{id:str}/diff",
        operation_id="compareRevisions",
        summary="Compare two revisions",
        description="Member by member, with the values of both. Without parameters: what the latest change "
        "has changed.",
        dependencies={"comparison": Provide(Comparison, sync_to_thread=False)},
        response_description="What differs.",
        responses=doc.problems(TASK_NOT_FOUND, REVISION_NOT_FOUND, DATABASE_UNAVAILABLE),
    )
    async def compare_revisions(
        self, api: Injected[Api], task_id: TaskId, comparison: Injected[Comparison]
    ) -> Diff:
        """What was changed between them."""
        return Diff.of(await api.parts.revisions.compare(NAMESPACE, task_id, comparison.from_, comparison.to))

    @post(
        "/{id:str}/rollback",
        operation_id="rollBackTask",
        summary="Roll a task back",
        description="A new revision with the definition of an earlier one: nothing of the past is rewritten. "
        "It must be admissible today, so a one-off whose instant has passed is refused. As with PUT, the "
        "next run is computed anew, and an unchanged trigger keeps its place.",
        status_code=200,
        dto=RollingBackBody,
        return_dto=None,
        dependencies={"rollback": Provide(Rollback, sync_to_thread=False)},
        response_headers=[doc.ETAG, doc.EVENT_POSITION, doc.PREFERENCE_APPLIED],
        response_description="The task as it is from now on.",
        responses=doc.problems(
            *(MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY, IDEMPOTENCY_KEY_REUSED),
            *(TASK_NOT_FOUND, REVISION_NOT_FOUND, TASK_ALREADY_OVER, REVISION_IS_CURRENT),
            *(REVISION_INADMISSIBLE, REVISION_REDACTED, VERSION_MISMATCH, DATABASE_UNAVAILABLE),
        ),
    )
    async def roll_back_task(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[RollingBack],
        api: Injected[Api],
        task_id: TaskId,
        rollback: Injected[Rollback],
    ) -> Response[Task]:
        """Make an earlier definition the present one."""
        key, digest = rollback.idempotency_key, _digest(task_id, data.to)
        asked = command_request(request, rollback.x_change_reason, key, digest)
        accepted = await api.parts.commands.roll_back(task_id, data.to, asked, if_match=rollback.version())
        return await api.written(accepted, rollback.prefer, 200)


def _digest(task_id: UUID, number: int) -> str:
    """What a key of this request stands for."""
    return hashlib.sha256(f"rollback {task_id} {number}".encode()).hexdigest()
