"""The API over a log in memory: the real commands, and read models that fold the log on every question."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httpx
import uuid_utils.compat
from psycopg import OperationalError

from application.audit import Audit
from application.executions import ExecutionCommands
from application.explanation.explainer import Explainer, Occurrences
from application.redaction import Redactions
from application.revisions import Revisions
from application.tasks import BulkCommands, TaskCommands
from application.what_if.simulator import Simulator
from interfaces.bootstrap.services import LedgerOfReadModels, RunsOfReadModels
from interfaces.http.answers import HealthCheck, HealthReport
from interfaces.http.dependencies import Dependencies, HttpOptions
from interfaces.http.system import Node
from tests.support.archived import ArchivedMonths
from tests.support.audit_log import MemoryAuditLog
from tests.support.event_reader import MemoryEventReader
from tests.support.http_apps import lent
from tests.support.log import MemoryLog
from tests.support.memory_read_models import MemoryReadModels
from tests.support.past import MemoryPast
from tests.support.redactable import MemoryLedger, MemoryRedactor
from tests.support.runs import MemoryRuns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from litestar import Litestar

    from application.ports import Cancellable


class SettableClock:
    """Real time, moved by as much as a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The instant."""
        return datetime.now(UTC) + self.ahead

    async def sleep_until(self, instant: datetime) -> None:
        """Commands never wait."""
        raise NotImplementedError(instant)

    def call_at(self, instant: datetime, callback: Callable[[], None]) -> Cancellable:
        """Commands never wait."""
        raise NotImplementedError(instant, callback)

    def steady(self) -> timedelta:
        """Commands never measure."""
        raise NotImplementedError

    async def pause(self, duration: timedelta) -> None:
        """Commands never wait."""
        raise NotImplementedError(duration)


@dataclass
class SettableVisibility:
    """`Visibility` that is as far as a test says."""

    reached: bool = True
    failing: bool = False
    asked: list[tuple[int, float]] = field(default_factory=list)

    async def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """See `Visibility`."""
        self.asked.append((position, timeout_seconds))
        if self.failing:
            raise OperationalError("connection refused")
        return self.reached


@dataclass
class SettableHealth:
    """`Health` of a service whose parts are as a test says."""

    failing: set[str] = field(default_factory=set)

    async def report(self) -> HealthReport:
        """See `Health`."""
        parts = ("database", "projectors", "scheduler")
        return HealthReport.of_checks(
            {
                part: HealthCheck(
                    status="unhealthy" if part in self.failing else "healthy", detail=f"The {part}."
                )
                for part in parts
            }
        )


@dataclass
class SettableNodes:
    """`Nodes` that are as a test says."""

    known: list[Node] = field(default_factory=list)
    away: bool = False

    async def nodes(self) -> list[Node]:
        """See `Nodes`."""
        if self.away:
            raise OperationalError("connection refused")
        return self.known


class OneMetric:
    """`Exposition` of one line."""

    async def render(self) -> tuple[bytes, str]:
        """See `Exposition`."""
        return b"chronoledger_one 1\n", "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class RequestLog:
    """`RequestObserver` that remembers."""

    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """See `RequestObserver`."""
        assert seconds >= 0
        self.seen.append((method, route, status))


@dataclass
class HttpService:
    """The application, what it stands on, and a client."""

    log: MemoryLog
    queries: MemoryReadModels
    visibility: SettableVisibility
    health: SettableHealth
    nodes: SettableNodes
    observer: RequestLog
    clock: SettableClock
    archived: ArchivedMonths
    sealed: MemoryAuditLog
    app: Litestar
    client: httpx.AsyncClient

    async def create(self, **changes: Any) -> dict[str, Any]:
        """A created task's JSON."""
        answer = await self.client.post("/api/v1/tasks", json=task_json(**changes))
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created


def task_json(**changes: Any) -> dict[str, Any]:
    """A valid definition, with members replaced; None leaves one out."""
    body = {
        "name": "Daily Report",
        "trigger": {"type": "cron", "cron": "0 9 * * *"},
        "action": {"method": "POST", "url": "https://api.example.com/reports", "payload": {"kind": "daily"}},
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def assert_a_problem(answer: httpx.Response) -> None:
    """The members that every problem has, and that they are true."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert unquote(problem["instance"]) == answer.request.url.path
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]


@contextlib.asynccontextmanager
async def http_service(**options: Any) -> AsyncIterator[HttpService]:
    """A new service, with `HttpOptions` of a test's own."""
    log, clock, archived = MemoryLog(), SettableClock(), ArchivedMonths()
    sealed = MemoryAuditLog(log.rows)
    queries, visibility, health, nodes, observer = (
        MemoryReadModels(log),
        SettableVisibility(),
        SettableHealth(),
        SettableNodes(),
        RequestLog(),
    )
    explainer = Explainer(log, clock)
    dependencies = Dependencies(
        commands=TaskCommands(log, clock, uuid_utils.compat.uuid7),
        bulk=BulkCommands(log, clock, uuid_utils.compat.uuid7),
        executions=ExecutionCommands(log, clock, uuid_utils.compat.uuid7, archived),
        redactions=Redactions(
            log, MemoryRedactor(log), RunsOfReadModels(MemoryLedger(log), visibility, 2.0), clock
        ),
        queries=queries,
        explainer=explainer,
        occurrences=Occurrences(explainer, LedgerOfReadModels(queries), clock),
        revisions=Revisions(log),
        events=MemoryEventReader(log),
        past=MemoryPast(log),
        audit=Audit(sealed),
        simulator=Simulator(log, MemoryRuns(log), MemoryPast(log), clock),
        visibility=visibility,
        health=health,
        nodes=nodes,
        exposition=OneMetric(),
        observer=observer,
    )
    with lent(dependencies, HttpOptions(**options)) as app:
        transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield HttpService(
                log, queries, visibility, health, nodes, observer, clock, archived, sealed, app, client
            )
