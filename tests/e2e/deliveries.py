"""What the receiver got of a workload, beside what the log says that it was sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from domain.facts import ExecutionTakenOver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.e2e.audit import Books, Sent
    from tests.support.misbehaviour import Call


class Deliveries:
    """What the receiver got of it."""

    def __init__(self, books: Books, calls: Sequence[Call]) -> None:
        self._books = books
        self.calls = calls
        self.attempts = Counter(map(sent, calls))
        self.executions = Counter(key for key, _ in map(sent, calls))

    def lateness_seconds(self) -> list[float]:
        """How long after it was due each execution arrived for the first time, ascending.

        As in `Books.lateness_seconds`, those that had to wait for another run are left out.
        """
        first: dict[str, float] = {}
        for call in self.calls:
            first.setdefault(sent(call)[0], call.at)
        due = {
            str(name): at
            for task in self._books.accepted
            for name, at in task.executions().items()
            if name not in self._books.queued
        }
        return sorted(at - due[key].timestamp() for key, at in first.items() if key in due)

    def under_foreign_keys(self) -> list[str]:
        """Calls whose `Idempotency-Key` is not the name of an occurrence of their task."""
        by_path = {
            task.planned.path: {str(name) for name in task.executions()} for task in self._books.accepted
        }
        return [call.path for call in self.calls if sent(call)[0] not in by_path[call.path]]

    def attempts_sent_twice(self) -> list[Sent]:
        """Attempts that arrived twice under one number."""
        return [attempt for attempt, times in self.attempts.items() if times > 1]

    def unclaimed(self) -> list[Sent]:
        """Attempts that nobody had claimed."""
        return [attempt for attempt in self.attempts if attempt not in self._books.claims]

    def repeated_at_most_once(self) -> list[UUID]:
        """Executions that arrived twice against their task's will."""
        tasks_ = self._books.task_of.items()
        return [name for name, task in tasks_ if task.planned.once and self.executions[str(name)] > 1]

    def undelivered_at_most_once(self) -> int:
        """How many runs never arrived, which at most once allows: their schedulers died, who knows when."""
        return sum(
            task.planned.once and self._books.status(name) == "failed" and not self.executions[str(name)]
            for name, task in self._books.task_of.items()
        )

    def never_arrived(self) -> set[Sent]:
        """Attempts that the log says were answered, of which the receiver knows nothing."""
        return self._books.answered() - set(self.attempts)

    def repeats(self) -> Counter[str]:
        """Why executions arrived more than once: by what claimed the further attempts."""
        return Counter(
            "taken over" if isinstance(self._books.claims[attempt][0].fact, ExecutionTakenOver) else "retried"
            for attempt in self.attempts
            if attempt[1] > 1 and attempt in self._books.claims
        )

    def outdated(self) -> list[Sent]:
        """Attempts that arrived after another scheduler had claimed the next: their own had been frozen."""
        outdated = []
        for call in self.calls:
            key, number = sent(call)
            following = self._books.claims.get((key, number + 1))
            if following and following[0].recorded_at.timestamp() < call.at:
                outdated.append((key, number))
        return outdated


def sent(call: Call) -> Sent:
    """Which attempt of which execution a call is."""
    return call.headers["idempotency-key"], int(call.headers["x-chronoledger-attempt"])
