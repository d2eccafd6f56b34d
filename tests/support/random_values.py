"""What random logs are made of: repeatable, and nasty."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from domain.definition import Action, Cron, Definition, Interval, OneOff, RetryPolicy
from domain.facts import Answer, Answered, Attempt, Unanswered

_TEXTS = ("plain", "nul \0 and \\u0000 \\\0", "Ünïcode ✓ 🕰", "quotes \" ' \\ {x}", "%_", "", "a\nb")
_PAYLOADS: tuple[Any, ...] = (
    None,
    "text",
    {"n": 2**200, "f": 1e308, "tiny": 5e-324, "\0": ["\0", "\\u0000", None, True]},
    [[[[]]]],
    0,
)


class RandomValues:
    """Makes values by a source of chance that others draw from, too; `now` is theirs to move."""

    def __init__(self, chance: random.Random, now: datetime) -> None:
        self._random = chance
        self.now = now

    def uuid(self) -> UUID:
        """Any id."""
        return UUID(int=self._random.getrandbits(128))

    def text(self) -> str:
        """One of the nasty ones."""
        return self._random.choice(_TEXTS)

    def later(self, seconds: float) -> datetime:
        """An instant within so many seconds."""
        return self.now + timedelta(seconds=self._random.uniform(0, seconds))

    def definition(self) -> Definition:
        """A definition with any trigger."""
        pick = self._random.choice
        trigger = pick(
            (
                OneOff(datetime=self.later(1e5)),
                Cron(cron="*/5 * * * *", timezone="Europe/Berlin"),
                Interval(every_seconds=90, anchor=self.now, max_runs=1_000, jitter_seconds=30),
            )
        )
        action = Action(
            method=pick(("GET", "POST", "OPTIONS")),
            url=f"http://127.0.0.1/{self._random.randrange(10)}",
            headers={"X-Text": self.text(), "Accept": "*/*"} if pick((True, False)) else {},
            payload=pick(_PAYLOADS),
            timeout_seconds=pick((0.1, 30.0, 1 / 3)),
        )
        return Definition(
            name=self.text() or "name", trigger=trigger, action=action, retry=RetryPolicy(multiplier=1.1)
        )

    def failure(self, number: int, due_at: datetime) -> dict[str, Any]:
        """A status that is a failure, no answer, or a status that would do, had the body been another."""
        roll = self._random.random()
        unmet = f"the body does not contain {self.text()}" if roll < 0.3 else None
        return {"attempt": self.attempt(number, due_at, ok=unmet is not None), "unmet": unmet}

    def attempt(self, number: int, due_at: datetime, *, ok: bool) -> Attempt:
        """A call of an occurrence."""
        pick = self._random.choice
        answer: Answer = Answered(
            status_code=pick((200, 204)) if ok else pick((404, 500, 503)),
            headers={"content-type": "text/plain", "x": self.text()},
            body=self.text() * pick((1, 50)),
            truncated=pick((True, False)),
        )
        if not ok and pick((True, False)):
            answer = Unanswered(error=f"connection refused {self.text()}")
        started_at = due_at + timedelta(microseconds=self._random.randrange(-500, 10_000_000))
        return Attempt(
            number=number,
            started_at=started_at,
            duration_ms=self._random.randrange(400_000),
            answer=answer,
        )
