"""Slow moments of the log, and how far ahead claims are made for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.facts import ExecutionStarted

if TYPE_CHECKING:
    from tests.support.scheduler import World


def slow(world: World, seconds: float) -> None:
    """The log takes so long for the next claim."""

    async def wait() -> None:
        await world.clock.pause(timedelta(seconds=seconds))

    world.log.meanwhile[ExecutionStarted] = wait


def claimed_ahead(world: World) -> list[float]:
    """Of each claim in order, by how many seconds it came before its instant."""
    starts = world.facts(ExecutionStarted)
    return [round((fact.occurrence.due_at - fact.at).total_seconds(), 3) for fact in starts]
