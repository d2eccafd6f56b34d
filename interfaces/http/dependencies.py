"""Everything behind the HTTP layer: what it asks of the service itself, and all of it together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.audit import Audit
    from interfaces.http.command_ports import BulkCommands, Commands, ExecutionCommands, Redactions
    from interfaces.http.health import HealthReport
    from interfaces.http.nodes import Node
    from interfaces.http.query_ports import (
        Events,
        Explainer,
        Occurrences,
        Past,
        Queries,
        Revisions,
        Simulator,
    )


class Visibility(Protocol):
    """How far the read models have come."""

    async def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """Whether the read models passed a position of the log within the time given."""
        ...


class Nodes(Protocol):
    """Who does the work. Raises `psycopg.OperationalError` when the database is away."""

    async def nodes(self) -> Sequence[Node]:
        """Every scheduler and projector that has not left."""
        ...


class Health(Protocol):
    """The state of the service and of what it stands on."""

    async def report(self) -> HealthReport:
        """What works and what does not; never raises."""
        ...


class Exposition(Protocol):
    """The metrics of all processes of this service on this machine."""

    async def render(self) -> tuple[bytes, str]:
        """The text that Prometheus scrapes, and its content type."""
        ...


class RequestObserver(Protocol):
    """Told once about every answered request."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the path's template (`/api/v1/tasks/{id}`), or `unmatched`; must not raise."""
        ...


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Everything behind the API."""

    commands: Commands
    bulk: BulkCommands
    executions: ExecutionCommands
    redactions: Redactions
    queries: Queries
    explainer: Explainer
    occurrences: Occurrences
    events: Events
    revisions: Revisions
    past: Past
    audit: Audit
    simulator: Simulator
    visibility: Visibility
    nodes: Nodes
    health: Health
    exposition: Exposition
    observer: RequestObserver


@dataclass(frozen=True, kw_only=True)
class OpsDependencies:
    """Everything behind the pages of a process that serves no API."""

    health: Health
    exposition: Exposition
    observer: RequestObserver


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How the HTTP layer behaves. `debug` False adds Strict-Transport-Security to every answer."""

    cors_allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 1_048_576
    default_timezone: str = "UTC"
    debug: bool = False
    visibility_timeout_seconds: float = 2.0
