"""Who does the work, over HTTP; and what health says about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from infrastructure.health import Readiness
from interfaces.bootstrap.pages import HealthChecks
from interfaces.http.answers import HealthCheck
from interfaces.http.system import Node
from tests.support.given import NOON
from tests.support.http_service import HttpService, assert_a_problem, http_service

SCHEDULER = Node(
    name="host-8080.1f3a90c2",
    role="scheduler",
    alive=True,
    started_at=NOON,
    heartbeat_age_seconds=0.4,
    claims=True,
    clock_right=True,
    clock_offset_seconds=-0.25,
    share=0.33,
    in_flight=12,
    due_index_entries=1840,
    lag_events=3,
)
SIGNS = Readiness(
    head=10,
    projected=10,
    furthest=10,
    oldest_unprojected_seconds=None,
    projector_beat_seconds=1.0,
    scheduler_beat_seconds=1.0,
    claiming=1,
    wrong_clock_seconds=None,
    parked=0,
    missing=[],
    fenced=False,
)


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service() as running:
        yield running


async def test_nodes_are_listed_with_their_share_and_their_lag(service: HttpService) -> None:
    service.nodes.known.append(SCHEDULER)
    answer = await service.client.get("/api/v1/nodes")
    assert answer.status_code == 200
    [shown] = answer.json()["items"]
    assert set(shown) == set(Node.__struct_fields__)
    assert shown["name"] == "host-8080.1f3a90c2"
    assert (shown["share"], shown["lag_events"], shown["clock_offset_seconds"]) == (0.33, 3, -0.25)


async def test_without_the_database_nobody_knows_the_nodes(service: HttpService) -> None:
    service.nodes.away = True
    answer = await service.client.get("/api/v1/nodes")
    assert answer.status_code == 503
    assert_a_problem(answer)


async def test_a_parameter_that_the_list_does_not_know_is_refused(service: HttpService) -> None:
    answer = await service.client.get("/api/v1/nodes", params={"role": "scheduler"})
    assert answer.status_code == 400
    assert_a_problem(answer)
    assert "role" in answer.json()["detail"]


class Signs:
    """A source of signs that are as a test says."""

    def __init__(self, **changes: Any) -> None:
        self._signs = replace(SIGNS, **changes)

    async def read(self) -> Readiness:
        return self._signs


async def scheduler_check(**changes: Any) -> HealthCheck:
    return (await HealthChecks(Signs(**changes)).report()).checks["scheduler"]


async def test_a_scheduler_that_beats_is_healthy() -> None:
    check = await scheduler_check()
    assert check == HealthCheck(status="healthy", detail="The last heartbeat was 1 s ago.")


async def test_when_only_schedulers_with_wrong_clocks_are_there_nothing_is_called() -> None:
    check = await scheduler_check(claiming=0, wrong_clock_seconds=-12.34)
    assert check.status == "unhealthy"
    assert "12.3 s behind the database's" in check.detail
    assert "NTP" in check.detail


async def test_one_wrong_clock_among_others_is_told_and_hurts_nobody() -> None:
    check = await scheduler_check(claiming=2, wrong_clock_seconds=12.34)
    assert check.status == "healthy"
    assert "12.3 s ahead of the database's" in check.detail
    assert "/api/v1/nodes" in check.detail
