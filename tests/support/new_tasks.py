"""What users may new_task for, as chance has it: triggers and policies, and what their targets answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from domain.definition import (
    CatchUp,
    Cron,
    Interval,
    JsonCondition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.errors import ValidationFailed
from domain.facts import Answered
from domain.validation import validate
from tests.support.given import NOON, definition, no_answer

if TYPE_CHECKING:
    from random import Random

    from domain.definition import Backoff, Trigger
    from domain.facts import Answer

MIDDAY = ["* * * * *", "*/2 * * * *", "1-59/2 * * * *", "*/20 * * * * *", "*/7 * * * * *", "5,35 * * * * *"]
NIGHT = ["* * * * *", "*/20 * * * * *", "0-59 2 * * *", "0-59/2 1-3 * * *", "*/30 0-59 1,2 * * *"]
EPOCHS = [
    *[(NOON, "UTC", MIDDAY)] * 5,
    (datetime(2030, 3, 31, 0, 58, 40, tzinfo=UTC), "Europe/Berlin", NIGHT),
    (datetime(2030, 10, 27, 0, 57, 30, tzinfo=UTC), "Europe/Berlin", NIGHT),
    (datetime(2030, 3, 10, 6, 58, tzinfo=UTC), "America/New_York", NIGHT),
    (datetime(2030, 11, 3, 5, 59, 30, tzinfo=UTC), "America/New_York", NIGHT),
    (datetime(2030, 4, 6, 14, 58, tzinfo=UTC), "Australia/Lord_Howe", NIGHT),
]
"""When a world begins, often right before its zone's clocks are moved, and what its users find useful."""

CATCH_UPS = [
    CatchUp(),
    CatchUp(mode="skip"),
    CatchUp(window_seconds=45),
    CatchUp(mode="all"),
    CatchUp(mode="all", max_runs=3, window_seconds=90),
]
OVERLAPS = [
    Overlap(),
    Overlap(mode="skip"),
    Overlap(mode="queue_one"),
    Overlap(mode="queue_one", max_running=2),
    Overlap(mode="queue_all", max_queued=3),
    Overlap(mode="queue_all", max_running=2),
    Overlap(mode="cancel_running"),
    Overlap(mode="cancel_running", max_running=2),
]
SUCCESSES = [
    SuccessPolicy(body_contains="done"),
    SuccessPolicy(json=JsonCondition(pointer="/ok", equals=True)),
    SuccessPolicy(statuses=("2xx", "404"), body_contains="ok"),
]
FINE = Answered(status_code=200, body='{"ok": true, "text": "done"}')
ANSWERS: list[Answer] = [
    *[FINE] * 12,
    *[Answered(status_code=503)] * 4,
    Answered(status_code=200, body='{"ok": false}'),
    Answered(status_code=200, body='{"ok": true, "text": "done", "rest": "', truncated=True),
    Answered(status_code=429, headers={"retry-after": "12"}),
    Answered(status_code=503, headers={"retry-after": "3600"}),
    Answered(status_code=404, body="ok"),
    Answered(status_code=410),
    no_answer(),
    no_answer(retryable=False),
    no_answer(sent=False),
    no_answer(sent=False),
]


@dataclass
class NewTasks:
    """Of the users of one world, which has a zone and its usual schedules."""

    random: Random
    zone: str
    schedules: list[str]

    def words(self, name: str, now: datetime, trigger: Trigger | None = None) -> dict[str, Any]:
        """An admissible definition, by the words of `given.definition`; with a trigger, if one is given."""
        while True:
            words = self._words(name, now, trigger)
            try:
                validate(definition(**words), now, current=trigger)
            except ValidationFailed:
                continue
            else:
                return words

    def _words(self, name: str, now: datetime, trigger: Trigger | None) -> dict[str, Any]:
        trigger = trigger or self._trigger(now)
        url = f"http://target/{name if self.random.random() < 0.7 else 'same'}"
        words = {
            "name": name,
            "url": url,
            "trigger": trigger,
            "retry": self.retry(),
            "delivery": self.random.choice(["at_least_once", "at_least_once", "at_most_once"]),
            "success": self.random.choice([*[SuccessPolicy()] * 4, *SUCCESSES]),
            "priority": self.random.choice([1, 5, 9]),
        }
        if isinstance(trigger, OneOff):
            return words
        return {
            **words,
            "catch_up": self.random.choice(CATCH_UPS),
            "overlap": self.random.choice(OVERLAPS),
        }

    def _trigger(self, now: datetime) -> Trigger:
        kind = self.random.random()
        if kind < 0.35:
            cron = self.random.choice(self.schedules)
            return Cron(cron=cron, timezone=self.zone, **self._bounds(now, 20))
        if kind < 0.7:
            every = self.random.choice([5, 10, 20, 30])
            return Interval(every_seconds=every, **self._bounds(now, every))
        at = now + timedelta(seconds=self.random.choice([-30, 0, 0.02, 5, 50, 100]))
        jitter = self.random.choice([0, 0, 0, 4])
        return OneOff(datetime=_whole(at), timezone=self.zone, jitter_seconds=jitter)

    def _bounds(self, now: datetime, jitter: int) -> dict[str, Any]:
        start_at = now + timedelta(seconds=self.random.choice([-30, 0, 25, 70]))
        end_at = now + timedelta(seconds=self.random.choice([75, 120, 200]))
        return {
            "max_runs": self.random.choice([*[None] * 4, 1, 2, 5]),
            "start_at": self.random.choice([*[None] * 4, _whole(start_at)]),
            "end_at": self.random.choice([*[None] * 4, _whole(end_at)]),
            "jitter_seconds": self.random.choice([*[0] * 4, 3, jitter]),
        }

    def retry(self) -> RetryPolicy:
        """How often to try, and what comes of failing."""
        if self.random.random() < 0.3:
            return RetryPolicy()
        backoffs: list[Backoff] = ["fixed", "linear", "exponential"]
        backoff = self.random.choice(backoffs)
        return RetryPolicy(
            max_attempts=self.random.choice([1, 2, 3, 3, 4, 6]),
            initial_delay_seconds=self.random.choice([0, 0.5, 1, 4, 20]),
            multiplier=self.random.choice([1, 3, 10]) if backoff == "exponential" else 2,
            max_delay_seconds=self.random.choice([20, 45]),
            backoff=backoff,
            jitter=self.random.choice(["none", "slight", "full"]),
            max_elapsed_seconds=self.random.choice([None, None, None, 2, 20, 60]),
            statuses=self.random.choice([RetryPolicy().statuses] * 2 + [("503", "404"), ("5xx", "410")]),
            final_statuses=self.random.choice([(), (), ("503",)]),
            max_retry_after_seconds=self.random.choice([0, 30, 60]),
            on_gone=self.random.choice(["fail", "stop"]),
            disable_after_failures=self.random.choice([None, None, 1, 2, 3]),
        )

    def answers(self, now: datetime) -> list[Answer]:
        """What the targets answer, one after the other."""
        names = {"retry-after": format_datetime(now + timedelta(seconds=200), usegmt=True)}
        busy = Answered(status_code=503, headers=names)
        return self.random.choices([*ANSWERS, busy], k=120)


def _whole(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
