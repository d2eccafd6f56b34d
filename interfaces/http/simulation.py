"""What would have happened, or will, if tasks were defined otherwise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from litestar import post
from litestar.params import JSONBody

from application.past.moment import NotYet
from domain.errors import FieldError, InvalidBody
from interfaces import simulating
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.injection import Injected
from interfaces.http.parameters import Freshness
from interfaces.http.problem_types import (
    BODY_TOO_LARGE,
    INVALID_BODY,
    MALFORMED_JSON,
    TASK_NOT_FOUND,
    TOO_MUCH_TO_SIMULATE,
    UNSUPPORTED_MEDIA_TYPE,
)
from interfaces.http.simulation_answers import SimulationAnswer
from interfaces.http.simulation_body import SimulationBody, UnreadSimulation

# What was recorded right before now is shown a moment later, and clocks differ a little.
SETTLING = timedelta(seconds=2)


@post(
    "/simulate",
    operation_id="simulateTasks",
    summary="Simulate a change",
    description="Nothing is stored. A window of the past is lived through again with what the log tells of "
    "it: answers, durations, downtimes, and what users did; one of the future from how things stand.",
    status_code=200,
    dto=SimulationBody,
    return_dto=None,
    response_description="Both accounts of each window, and what they differ in.",
    responses=doc.problems(
        *(MALFORMED_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY, TASK_NOT_FOUND),
        *(TOO_MUCH_TO_SIMULATE, *doc.READING),
    ),
    tags=["tasks"],
)
async def simulate_tasks(
    data: JSONBody[UnreadSimulation], api: Injected[Api], freshness: Injected[Freshness]
) -> SimulationAnswer:
    """What would have happened in the past, or will in the future, if tasks were defined otherwise."""
    now = datetime.now(UTC)
    past, _ = simulating.windows(data, now)
    try:
        if past is not None:
            await api.reach((await api.parts.past.at(past.end - SETTLING)).position)
        await api.reach(freshness.min_position)
        found = await simulating.simulate(
            data, api.parts.queries, api.parts.simulator, now, api.options.default_timezone
        )
    except NotYet as error:
        detail = f"It lies in the future, for {error}: give an earlier instant."
        raise InvalidBody([FieldError(pointer="/past/to", detail=detail)]) from None
    return await asyncio.to_thread(SimulationAnswer.of, found)
