"""A seeded mix of tasks, and by plain arithmetic every occurrence that it must come to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from domain.identity import execution_id
from tests.e2e.client import cron, interval, one_off

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from tests.e2e.callee import Callee
    from tests.e2e.client import Client, Json

# A fifth fails its first attempt; the slow ones are in flight when their scheduler is killed.
BEHAVIOURS = ("/ok", "/ok", "/slow/0.3", "/slow/1", "/flaky/1")
RETRY: Json = {"max_attempts": 4, "initial_delay_seconds": 0.5, "multiplier": 1.5}
# Far more than may come in a row: each is counted, which makes a version of the task, and none pauses it.
COUNTED: Json = {"disable_after_failures": 1_000}
EVERY_ONE: Json = {"catch_up": {"mode": "all"}, "overlap": {"mode": "allow"}}
OVERLAPS = ("allow", "skip", "queue_one", "queue_all", "cancel_running")
TIMEOUT_SECONDS = 3
ONE_OFFS = 0.4
"""Their share; the rest are occurrences of recurring tasks."""

type Fate = Literal["runs", "is accounted for"]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A task to create, what its calls can be told by, its nominal instants, and what must become of them."""

    body: Json
    path: str
    due: tuple[datetime, ...]
    fate: Fate

    @property
    def once(self) -> bool:
        """Whether its calls are delivered at most once."""
        return bool(self.body["delivery"] == "at_most_once")


@dataclass(frozen=True)
class Accepted:
    """A planned task that exists."""

    id: UUID
    planned: Planned

    def executions(self) -> dict[UUID, datetime]:
        """The names of its occurrences, each with its instant."""
        return {execution_id(self.id, due, "scheduled"): due for due in self.planned.due}


def accept(client: Client, planned: Sequence[Planned]) -> list[Accepted]:
    """Have the API accept tasks."""
    created = client.create_all(each.body for each in planned)
    return [Accepted(UUID(task["id"]), each) for task, each in zip(created, planned, strict=True)]


class Workload:
    """`count` occurrences in the whole seconds from `start` on, `seconds` of them; or a few more."""

    def __init__(
        self, callee: Callee, random: Random, mark: str, *, count: int, start: datetime, seconds: int
    ) -> None:
        self.start = start.astimezone(UTC).replace(microsecond=0)
        self.seconds = seconds
        self._callee = callee
        self._random = random
        self._mark = f"chaos={mark}"
        self._serial = 0
        one_offs = round(count * ONE_OFFS)
        # Recurring ones first: they must exist before their first instant.
        self.planned = [*self._recurring(count - one_offs), *(self._one_off() for _ in range(one_offs))]

    @property
    def end(self) -> datetime:
        """The last instant."""
        return self.start + timedelta(seconds=self.seconds - 1)

    def is_ours(self, path: str) -> bool:
        """Whether a call's path is of one of these tasks."""
        return f"?{self._mark}." in path

    def create(self, client: Client) -> list[Accepted]:
        """Have the API accept them all, in time."""
        accepted = accept(client, self.planned)
        late = datetime.now(UTC) - self.start
        assert late < timedelta(), f"the tasks were accepted {late} after their start: plan for a later one"
        return accepted

    def _recurring(self, count: int) -> Iterator[Planned]:
        kinds = (self._interval_of_runs, self._cron_until_end, self._interval_until_end)
        while count > 0:
            planned = kinds[self._serial % len(kinds)]()
            count -= len(planned.due)
            yield planned

    def _one_off(self) -> Planned:
        at = self.start + timedelta(milliseconds=self._random.randrange((self.seconds - 1) * 1_000))
        path = self._path()
        body = one_off(self._callee.url(path), at, timeout_seconds=TIMEOUT_SECONDS)
        return self._planned(body, path, (at,), "runs")

    def _interval_of_runs(self) -> Planned:
        path, due = self._path(), self._instants(1)
        body = interval(self._callee.url(path), 1, timeout_seconds=TIMEOUT_SECONDS)
        body["trigger"] |= self._from_the_start(max_runs=len(due))
        return self._planned(body | EVERY_ONE, path, due, "runs")

    def _cron_until_end(self) -> Planned:
        """With the policies that users get: those that were missed, or overlap, are skipped."""
        path = self._path()
        body = cron(self._callee.url(path), "* * * * * *", timeout_seconds=TIMEOUT_SECONDS)
        body["trigger"] |= {"start_at": self.start.isoformat(), "end_at": self.end.isoformat()}
        return self._planned(body, path, self._instants(1), "is accounted for")

    def _interval_until_end(self) -> Planned:
        path, every = self._path(), self._random.choice((2, 3))
        body = interval(self._callee.url(path), every, timeout_seconds=TIMEOUT_SECONDS)
        body["trigger"] |= self._from_the_start(end_at=self.end.isoformat())
        overlap = {"overlap": {"mode": self._random.choice(OVERLAPS)}}
        return self._planned(body | overlap, path, self._instants(every), "is accounted for")

    def _from_the_start(self, **limits: object) -> Json:
        return {"anchor": self.start.isoformat(), "start_at": self.start.isoformat(), **limits}

    def _instants(self, every: int) -> tuple[datetime, ...]:
        return tuple(self.start + timedelta(seconds=n) for n in range(0, self.seconds, every))

    def _path(self) -> str:
        self._serial += 1
        return f"{self._random.choice(BEHAVIOURS)}?{self._mark}.{self._serial}."

    def _planned(self, body: Json, path: str, due: tuple[datetime, ...], fate: Fate) -> Planned:
        delivery = "at_most_once" if self._serial % 2 else "at_least_once"
        retry = RETRY if body["trigger"]["type"] == "one-off" else RETRY | COUNTED
        body |= {"name": path, "retry": retry, "delivery": delivery}
        return Planned(body=body, path=path, due=due, fate=fate)
