"""Whatever users do, and however nodes, clocks and the database fail: nothing is lost, nothing starts twice.

Some schedulers live through some random minutes in one world; when all is well again, the books must balance:
every policy was kept to, and every nominal occurrence has an end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from application.scheduler.membership import Members
from tests.support.books import check_books
from tests.support.minutes import BusyMinutes, Minutes, UnsteadyMinutes
from tests.support.scheduler import World

SIMULATIONS = int(os.environ.get("CHRONOLEDGER_SIMULATIONS", "80"))
SEEDS = st.integers(0, 2**32)


def some[**P](share: float) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """So many of the simulations that are asked for. A seed is not shrunk: all are equally simple."""
    return settings(
        max_examples=max(1, round(SIMULATIONS * share)),
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


def lived_through(minutes: type[Minutes], seed: int) -> World:
    async def live() -> World:
        lived = minutes(Random(seed))
        await lived.pass_by()
        return lived.world

    return asyncio.run(live())


@some(0.4)
@given(seed=SEEDS)
def test_the_books_balance_after_some_minutes_of_anything(seed: int) -> None:
    check_books(lived_through(Minutes, seed))


@some(0.3)
@given(seed=SEEDS)
def test_the_books_balance_after_some_minutes_of_clocks_that_are_set(seed: int) -> None:
    check_books(lived_through(UnsteadyMinutes, seed))


@some(0.2)
@given(seed=SEEDS)
def test_the_books_balance_after_some_minutes_of_runs_that_overlap(seed: int) -> None:
    check_books(lived_through(BusyMinutes, seed))


@some(0.1)
@given(seed=SEEDS)
def test_the_books_balance_even_if_every_node_takes_every_task_for_its_own(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Members, "takeover_delay", lambda _, __: timedelta())
        check_books(lived_through(BusyMinutes, seed))
