"""Whose turn it is with what waits: reckoned once for each, and anew when the members change."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest

from application.scheduler.membership import Members
from application.scheduler.requests import TOGETHER, FailoverQueue
from tests.support.given import NOON, after
from tests.support.scheduler import World

A, B, C = (UUID(int=number) for number in (1, 2, 3))


class Waiting:
    """What waits for the turn of a node among others that come first by `takeover_delay` seconds."""

    def __init__(self, patch: pytest.MonkeyPatch, **patience: float) -> None:
        self.takeover_delay = {name: timedelta(seconds=seconds) for name, seconds in patience.items()}
        self.asked: Counter[UUID] = Counter()
        self.taken: list[tuple[UUID, float]] = []
        patch.setattr(Members, "takeover_delay", lambda _, subject: self._patience(subject))
        self.world = World()
        self.context = self.world.context()
        self.queue = FailoverQueue(self.context, lambda: 0)

    def _patience(self, subject: UUID) -> timedelta:
        self.asked[subject] += 1
        return self.takeover_delay.get({A: "a", B: "b", C: "c"}.get(subject, ""), timedelta())

    async def _take(self, subject: UUID) -> bool | None:
        self.taken.append((subject, (self.world.clock.now() - NOON).total_seconds()))
        return None

    async def until(self, seconds: float) -> list[tuple[UUID, float]]:
        """What is taken until then, and when."""
        running = asyncio.create_task(self.queue.take(self._take))
        await self.world.clock.reach(after(seconds))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self.taken


async def test_each_is_taken_once_when_its_turn_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch, a=7, b=5)
    for subject in (A, B, C, C):
        waiting.queue.add(subject)
    assert await waiting.until(10) == [(C, 0), (B, 5), (A, 7)]
    assert waiting.asked == {A: 1, B: 1, C: 1}
    waiting.queue.add(C)
    assert (await waiting.until(20))[3:] == [(C, 10)]


async def test_what_is_discarded_is_not_taken_and_waits_from_when_it_is_heard_of_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting(monkeypatch, a=5, b=5)
    waiting.queue.add(A)
    waiting.queue.add(B)
    assert await waiting.until(3) == []
    waiting.queue.discard(A)
    waiting.queue.discard(B)
    waiting.queue.discard(C)
    waiting.queue.add(A)
    assert await waiting.until(20) == [(A, 8)]


async def test_who_comes_first_is_asked_again_when_the_members_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting(monkeypatch, a=5, b=5)
    waiting.queue.add(A)
    waiting.queue.add(B)
    assert await waiting.until(1) == []
    waiting.takeover_delay["a"] = timedelta()
    waiting.context.members.loaded()
    assert await waiting.until(9) == [(A, 1), (B, 5)]
    assert waiting.asked == {A: 2, B: 2}


async def test_what_becomes_due_together_is_taken_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch)
    subjects = [UUID(int=number) for number in range(10, 10 + 2 * TOGETHER + 1)]
    for subject in subjects:
        waiting.queue.add(subject)
    assert [subject for subject, _ in await waiting.until(1)] == subjects
    assert set(waiting.asked.values()) == {1}
