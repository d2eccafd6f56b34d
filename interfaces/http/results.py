"""Results of all tasks."""

from __future__ import annotations

from litestar import Controller, get
from litestar.di import Provide

from interfaces.http import documentation as doc
from interfaces.http.answers import Result, ResultPage
from interfaces.http.api import Api
from interfaces.http.injection import Injected
from interfaces.http.parameters import NAMESPACE, Freshness, MinPosition, ResultId
from interfaces.http.problem_types import RESULT_NOT_FOUND
from interfaces.http.refusals import ResultNotFound
from interfaces.http.selections import AnyTaskResultSelection, paging


class ResultController(Controller):
    """What was called, and what came of it."""

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
