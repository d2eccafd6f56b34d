"""The sending half of a scheduler, in a process of its own that may open few files.

`python -m tests.support.few_descriptors` takes the limit, how many calls may be tried at a time, how many to
make, and the URLs to share them among. It prints as JSON the statuses or errors of the attempts, how many
ended so, and how often there was no room.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import cycle, islice
from typing import TYPE_CHECKING

import uvloop

from application.scheduler.attempts import Attempts
from application.scheduler.dispatcher import Dispatcher
from application.scheduler.jobs import LeaseRenewal
from application.scheduler.outcomes import Outcomes
from domain.facts import Answered
from infrastructure.clock import SystemClock
from infrastructure.http_caller import AiohttpCaller
from tests.support.given import definition
from tests.support.scheduler import World
from tests.support.sending import job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.ports import Exchange
    from application.scheduler.context import Context
    from application.scheduler.jobs import Job


class Counted(Outcomes):
    """Counts what the attempts brought; `all_over` is set after so many `times`."""

    def __init__(self, context: Context, times: int) -> None:
        super().__init__(context)
        self.times = times
        self.brought: Counter[str] = Counter()
        self.all_over = asyncio.Event()

    async def settle(self, brought: Sequence[tuple[Job, Exchange]], handed: Callable[[], None]) -> None:
        handed()
        for _, exchange in brought:
            attempt = exchange.attempt()
            assert attempt is not None
            answer = attempt.answer
            self.brought[str(answer.status_code) if isinstance(answer, Answered) else answer.error] += 1
        if self.brought.total() == self.times:
            self.all_over.set()


async def main(at_once: int, times: int, urls: list[str]) -> None:
    """Have so many calls due now, and tell what became of them."""
    world, clock = World(), SystemClock()
    async with AiohttpCaller(clock=clock, max_concurrency=at_once, max_per_host=at_once) as caller:
        context = replace(world.context(), clock=clock, caller=caller)
        outcomes, dispatcher = Counted(context, times), Dispatcher(clock, at_once, at_once)
        attempts = Attempts(context, dispatcher, LeaseRenewal(context, outcomes), outcomes)
        running = asyncio.create_task(attempts.run())
        for number, url in enumerate(islice(cycle(urls), times)):
            due = job(number, clock.now() + timedelta(milliseconds=200))
            due.definition = definition(url=url)
            attempts.dispatch(due)
        await outcomes.all_over.wait()
        running.cancel()
        await asyncio.wait([running])
    print(json.dumps({"brought": outcomes.brought, "no_room": len(world.observed.errors)}))


if __name__ == "__main__":
    descriptors, at_once, times, *urls = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
    uvloop.run(main(int(at_once), int(times), urls))
