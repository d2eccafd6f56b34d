"""What has reached the target: nothing twice, nothing stale, and at most once where a task asks for that."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from domain.facts import TaskCancelled, TaskUpdated, Unanswered
from tests.support.tolerances import LATE_RETRY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from tests.support.books import Ledger
    from tests.support.fake_caller import Seen
    from tests.support.scheduler import World


def check_calls(world: World, ledger: Ledger, began_at: Mapping[UUID, datetime]) -> None:
    """Every call was claimed, once, and made from the definition that it was claimed from, and in its time.

    `began_at` is when the first attempt of each execution was to be sent.
    """
    counts = Counter((call.execution_id, call.number) for call in world.calls)
    assert {attempt: count for attempt, count in counts.items() if count > 1} == {}
    for call in world.calls:
        definition = ledger.called(call.execution_id, call.number)
        assert call.url == definition.action.url
        most = definition.retry.max_elapsed_seconds
        if most is not None and call.number > 1:
            latest = began_at[call.execution_id] + timedelta(seconds=most) + LATE_RETRY
            assert call.at <= latest, f"{call} was later than max_elapsed_seconds"
    _check_nothing_stale(world, ledger)
    _check_at_most_once(world.calls, ledger)


def _check_nothing_stale(world: World, ledger: Ledger) -> None:
    """Who has been told of an update or a cancel makes no call that was claimed before it."""
    changes: dict[UUID, list[tuple[int, int]]] = defaultdict(list)
    for event in world.log.recorded:
        if isinstance(event.fact, TaskUpdated | TaskCancelled):
            changes[event.stream].append((event.position, event.version))
    for call in world.calls:
        task_id, claimed_from = ledger.claims[call.execution_id, call.number]
        stale = [place for place, version in changes[task_id] if version > claimed_from]
        assert all(place > call.told for place in stale), f"{call} was stale"


def _check_at_most_once(calls: list[Seen], ledger: Ledger) -> None:
    reached: set[UUID] = set()
    for call in calls:
        if ledger.called(call.execution_id, call.number).delivery == "at_most_once":
            assert call.execution_id not in reached, f"{call} may have been the second one"
        if not isinstance(call.answer, Unanswered) or call.answer.sent:
            reached.add(call.execution_id)
