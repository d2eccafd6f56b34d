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
from application.scheduler.retries import LeaseRenewal
from domain.facts import Answered
from infrastructure.clock import SystemClock
from infrastructure.http_caller import AiohttpCaller
from tests.support.given import definition
from tests.support.scheduler import World
from tests.support.sending import job, no_end

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.ports import Exchange
    from application.scheduler.context import Job


async def main(at_once: int, times: int, urls: list[str]) -> None:
    """Have so many calls due now, and tell what became of them."""
    world, clock = World(), SystemClock()
    brought: Counter[str] = Counter()
    all_over = asyncio.Event()

    async def settle(ended: Sequence[tuple[Job, Exchange]], handed: Callable[[], None]) -> None:
        handed()
        for _, exchange in ended:
            attempt = exchange.attempt()
            assert attempt is not None
            answer = attempt.answer
            brought[str(answer.status_code) if isinstance(answer, Answered) else answer.error] += 1
        if brought.total() == times:
            all_over.set()

    async with AiohttpCaller(clock=clock, max_concurrency=at_once, max_per_host=at_once) as caller:
        context = replace(world.context(), clock=clock, caller=caller)
        attempts = Attempts(
            context, Dispatcher(clock, at_once, at_once), LeaseRenewal(context), settle, no_end
        )
        running = asyncio.create_task(attempts.run())
        for number, url in enumerate(islice(cycle(urls), times)):
            due = job(number, clock.now() + timedelta(milliseconds=200))
            due.definition = definition(url=url)
            attempts.dispatch(due)
        await all_over.wait()
        running.cancel()
        await asyncio.wait([running])
    print(json.dumps({"brought": brought, "no_room": len(world.observed.errors)}))


if __name__ == "__main__":
    descriptors, at_once, times, *urls = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
    uvloop.run(main(int(at_once), int(times), urls))
