"""The revisions of a task's definition: list them, read one, compare two."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.injection import Injected
from interfaces.http.parameters import NAMESPACE, TaskId
from interfaces.http.problems import DATABASE_UNAVAILABLE, REVISION_NOT_FOUND, TASK_NOT_FOUND
from interfaces.http.revision_answers import Diff, Revision, RevisionPage

# Far more than any task has, and within what JSON and Postgres count with.
HIGHEST_NUMBER = 1_000_000_000
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
