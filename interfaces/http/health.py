"""The JSON of `/health`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

type HealthStatus = Literal["healthy", "unhealthy"]


class Alive(Struct, frozen=True):
    """The answer of a process that serves requests."""

    status: Literal["alive"] = "alive"


class HealthCheck(Struct, frozen=True, kw_only=True):
    """One part of the service, or one thing it stands on."""

    status: HealthStatus
    detail: Annotated[str, Meta(description="One sentence: what was found, and what to look at.")]


class HealthReport(Struct, frozen=True, kw_only=True):
    """Healthy when every part is."""

    status: HealthStatus
    checks: Annotated[
        dict[str, HealthCheck], Meta(description="By part: `database`, `projectors`, `scheduler`.")
    ]

    @classmethod
    def of_checks(cls, checks: dict[str, HealthCheck]) -> HealthReport:
        """The report that follows from its parts."""
        healthy = all(check.status == "healthy" for check in checks.values())
        return cls(status="healthy" if healthy else "unhealthy", checks=checks)
