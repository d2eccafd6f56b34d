"""Results of all tasks."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency, Provide

from interfaces.http import documentation as doc
from interfaces.http.answers import Result, ResultPage
from interfaces.http.api import Api
from interfaces.http.parameters import NAMESPACE, AnyTaskResultSelection, Freshness, ResultId, paging
from interfaces.http.refusals import ResultNotFound


@get(
    "/",
    operation_id="listResults",
    summary="List results",
    dependencies={"selection": Provide(AnyTaskResultSelection, sync_to_thread=False)},
    response_description="The occurrences that match, page by page.",
    responses=doc.problems(400, 503),
)
async def list_results(
    api: NamedDependency[Api],
    selection: NamedDependency[AnyTaskResultSelection],
    freshness: NamedDependency[Freshness],
) -> ResultPage:
    """Results by task, outcome, status code and due instant."""
    query = selection.query(selection.task_id)
    await api.reach(freshness)
    return ResultPage.of_listing(await api.parts.queries.results(query, paging(selection)))


@get(
    "/{id:str}",
    operation_id="getResult",
    summary="Read a result",
    response_description="The occurrence as it stands.",
    responses=doc.problems(400, 404, 503),
)
async def get_result(
    api: NamedDependency[Api], result_id: ResultId, freshness: NamedDependency[Freshness]
) -> Result:
    """One occurrence, with all its attempts."""
    await api.reach(freshness)
    view = await api.parts.queries.result(NAMESPACE, result_id)
    if view is None:
        raise ResultNotFound(result_id)
    return Result.of_view(view)
