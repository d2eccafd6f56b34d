"""Whether anything was begun before its instant, by the clock of the machine that began it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
)
from domain.schedule import fires_at
from tests.support.tolerances import AHEAD

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from domain.facts import PlacingFact
    from tests.support.books import Ledger
    from tests.support.scheduler import World


def check_clocks(world: World, ledger: Ledger) -> None:
    """No occurrence is claimed earlier than the longest lead before its instant, no retry before its own.

    A claim that is renewed may have been overtaken by its clock, which was set back.
    And none is called before its machine's clock has come to it, even if that was set back since.
    """
    begin: dict[tuple[UUID, int], datetime] = {}
    queued: set[UUID] = set()
    claimed: set[tuple[UUID, int]] = set()
    for event in world.log.recorded:
        reading = world.readings.get(event.meta.command_id)
        match event.fact:
            case ExecutionQueued() | ExecutionSkipped() | ExecutionStarted():
                if _is_claim(event.fact) and event.stream not in queued:
                    send_at = _send_at(event, ledger)
                    assert reading is not None
                    assert reading >= send_at - AHEAD, f"{event.fact} was claimed too early"
                    begin[event.stream, 1] = send_at
                (queued.add if isinstance(event.fact, ExecutionQueued) else queued.discard)(event.stream)
            case ExecutionRequested():  # an occurrence of the past, by a clock that was set back since
                begin.pop((event.stream, 1), None)
            case AttemptFailed(retry_at=retry_at, attempt=attempt):
                begin[event.stream, attempt.number + 1] = retry_at
            case AttemptStarted(number=number) if number > 1 and reading is not None:
                instant = begin.get((event.stream, number))
                renewed = (event.stream, number) in claimed
                assert renewed or instant is None or reading >= instant, f"{event.fact} was claimed too early"
                claimed.add((event.stream, number))
            case _:
                pass
    for call in world.calls:
        instant = begin.get((call.execution_id, call.number))
        assert instant is None or call.come_to >= instant, f"{call} was too early"


def _is_claim(fact: PlacingFact) -> bool:
    """Not what was dropped unsent: whether its clock was set back since its claim does not matter."""
    dropped = isinstance(fact, ExecutionSkipped) and fact.by == "change"
    return fact.occurrence.kind == "scheduled" and not dropped


def _send_at(event: Recorded, ledger: Ledger) -> datetime:
    """By the trigger, whatever the fact says."""
    assert isinstance(event.fact, ExecutionQueued | ExecutionSkipped | ExecutionStarted)
    occurrence = event.fact.occurrence
    trigger = ledger.definitions[occurrence.task_id, occurrence.task_version].trigger
    instant = fires_at(trigger, occurrence.task_id, occurrence.due_at)
    assert occurrence.send_at == instant
    return instant
