"""The revisions of a task's definition: list them, read one, compare two."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.di import Provide
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from application import revisions
from interfaces.http import documentation as doc
from interfaces.http.answers import Task
from interfaces.http.api import Api, command_request
from interfaces.http.bodies import HIGHEST_NUMBER, RollingBack, TaskDefinition
from interfaces.http.body_errors import JsonBody
from interfaces.http.parameters import NAMESPACE, Change, Injected, TaskId
from interfaces.http.problems import (
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


class RevisionSummary(Struct, frozen=True, kw_only=True):
    """A change of a task's definition."""

    number: Annotated[int, Meta(description="Counts the definitions that the task had, from 1.")]
    version: Annotated[int, Meta(description="Of the task, right after the change.")]
    position: Annotated[int, Meta(description="Of the change in the log.")]
    at: Annotated[datetime, Meta(description="When it was decided.")]
    actor: Annotated[str, Meta(description="Who decided.")]
    correlation_id: Annotated[str, Meta(description="The `X-Request-ID` of the request that led to it.")]
    address: Annotated[
        str | None, Meta(description="The IP address that it was asked for from; null: none is known.")
    ]
    reason: Annotated[str | None, Meta(description="The `X-Change-Reason` of the request, if it had one.")]
    kind: Literal["created", "updated", "rolled_back"]
    rolled_back_to: Annotated[
        int | None, Meta(description="The revision whose definition it took again; null: it was no rollback.")
    ]
    changed: Annotated[
        list[str],
        Meta(description="The members that differ from the revision before; none of the first one."),
    ]

    @classmethod
    def of(cls, revision: revisions.Revision) -> Self:
        """A revision without its definition."""
        return cls(**_told(revision, RevisionSummary))


class Revision(RevisionSummary, frozen=True, kw_only=True):
    """A change of a task's definition, and the whole of what it led to."""

    # As in `Task`, the domain's definition itself: its JSON has the members that are annotated.
    definition: Annotated[TaskDefinition, Meta(description="As `PUT` takes it.")]

    @classmethod
    def of(cls, revision: revisions.Revision) -> Self:
        """A revision with its definition."""
        definition: Any = revision.definition
        return cls(**_told(revision, RevisionSummary), definition=definition)


class RevisionPage(Struct, frozen=True, kw_only=True):
    """Some revisions, the latest first."""

    items: list[RevisionSummary]
    total: Annotated[int, Meta(description="How many revisions the task has: the number of the latest.")]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null: no more.")]

    @classmethod
    def of(cls, found: Sequence[revisions.Revision], before: int | None, limit: int) -> Self:
        """Of all revisions, those up to `limit` before a number."""
        end = len(found) if before is None else min(before - 1, len(found))
        start = max(0, end - limit)
        return cls(
            items=[RevisionSummary.of(revision) for revision in reversed(found[start:end])],
            total=len(found),
            next_before=start + 1 if start else None,
        )


class MemberChange(Struct, frozen=True, kw_only=True):
    """A member of the definition that differs."""

    pointer: Annotated[str, Meta(description="JSON pointer (RFC 6901) into the definition.")]
    old: Annotated[Any, Meta(description="Left out: there was none.")] | UnsetType = UNSET
    new: Annotated[Any, Meta(description="Left out: there is none.")] | UnsetType = UNSET


class Diff(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Changes from one revision to another."""

    from_: Annotated[int, Meta(description="Whose values are `old`.")]
    to: Annotated[int, Meta(description="Whose values are `new`.")]
    changes: Annotated[
        list[MemberChange],
        Meta(description="In the order of a definition; arrays are compared as a whole."),
    ]

    @classmethod
    def of(cls, compared: revisions.Compared) -> Self:
        """A comparison as it is shown."""
        changes = [MemberChange(pointer=one.pointer, old=one.old, new=one.new) for one in compared.changes]
        return cls(from_=compared.old.number, to=compared.new.number, changes=changes)


def _told(revision: revisions.Revision, shape: type[Struct]) -> dict[str, Any]:
    return {name: getattr(revision, name) for name in shape.__struct_fields__}


NUMBER = "a whole number from 1"

RevisionNumber = Annotated[
    int,
    PathParameter(name="number", ge=1, le=HIGHEST_NUMBER, description=f"The number of a revision: {NUMBER}."),
]


class RevisionSelection(Struct, frozen=True, kw_only=True):
    """The page of revisions that is asked for."""

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
    """The two revisions to compare."""

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
    """Former definitions of a task, and changes of it."""

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
        """The changes between them."""
        return Diff.of(await api.parts.revisions.compare(NAMESPACE, task_id, comparison.from_, comparison.to))

    @post(
        "/{id:str}/rollback",
        operation_id="rollBackTask",
        summary="Roll a task back",
        description="A new revision with the definition of an earlier one: nothing of the past is rewritten. "
        "It must be admissible today, so a one-off whose instant has passed is refused. As with PUT, the "
        "next run is computed anew, and an unchanged trigger keeps its place.",
        status_code=200,
        dto=JsonBody[RollingBack],
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
    """The digest that a key of this request stands for."""
    return hashlib.sha256(f"rollback {task_id} {number}".encode()).hexdigest()
