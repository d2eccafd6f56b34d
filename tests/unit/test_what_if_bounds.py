"""What a simulation may cost: others are served meanwhile, and too much is refused."""

from __future__ import annotations

import asyncio
import itertools
import threading
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from application.what_if.budget import Budget
from application.what_if.question import Subject, TooMuchToSimulate, Window
from domain.definition import Interval
from tests.support.given import NOON, definition
from tests.support.scheduler import World
from tests.unit.test_what_if_simulator import HOUR, future, question, simulator

if TYPE_CHECKING:
    from domain.definition import Definition


async def test_other_requests_are_served_while_an_answer_is_computed() -> None:
    served = threading.Event()

    def redefine(_: Definition | None, __: datetime) -> Definition:
        assert served.wait(10), "nobody else was served"
        return definition()

    asyncio.get_running_loop().call_soon(served.set)
    await future(World(), None, redefine, NOON, NOON + HOUR)


async def test_an_answer_that_nobody_waits_for_any_more_is_given_up() -> None:
    begun, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

    def redefine(_: Definition | None, __: datetime) -> Definition:
        begun.set()
        assert cancelled.wait(10)
        return definition(trigger=Interval(every_seconds=1, anchor=NOON))

    def unheard(_: Definition | None, __: datetime) -> Definition:
        ended.set()
        return definition()

    asked = question(Subject(None, redefine), Subject(None, unheard))
    waiting = asyncio.create_task(simulator(World()).future(asked, Window(NOON, NOON + HOUR)))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    cancelled.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not ended.is_set()


def test_a_processor_is_given_only_so_long_to_an_answer() -> None:
    seconds = itertools.count()
    budget = Budget(2.5, lambda: next(seconds))
    with pytest.raises(TooMuchToSimulate, match="seconds of a processor: give a shorter"):
        list(budget.over(range(10)))
    assert next(seconds) == 4
