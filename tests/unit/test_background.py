"""Roles: what runs in the background of one, and how many calls it makes at a time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from infrastructure.settings import Settings
from interfaces.bootstrap.services import background, possible_concurrency


async def test_what_fails_in_the_background_is_told_when_it_does() -> None:
    failing = asyncio.Event()

    async def work() -> None:
        await failing.wait()
        raise LookupError("broken")

    with capture_logs() as logs, contextlib.suppress(LookupError):
        async with background(work()):
            assert logs == []
            failing.set()
            async with asyncio.timeout(10):
                while not logs:
                    await asyncio.sleep(0)
            assert isinstance(logs[0]["exc_info"], LookupError)


@pytest.mark.parametrize("forever", [True, False])
async def test_what_ends_in_time_is_not_told(*, forever: bool) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        if forever:
            await asyncio.Event().wait()

    with capture_logs() as logs:
        async with background(work()):
            await begun.wait()
    assert logs == []


@pytest.mark.parametrize(
    ("wanted", "descriptors", "possible"),
    [(4_000, None, 4_000), (4_000, 20_000, 4_000), (4_000, 1_024, 904), (500, 1_024, 500), (4_000, 64, 1)],
)
def test_no_more_calls_are_made_at_a_time_than_there_are_descriptors_for(
    wanted: int, descriptors: int | None, possible: int
) -> None:
    with capture_logs() as logs:
        assert possible_concurrency(Settings(max_concurrency=wanted), descriptors) == possible
    assert [each["possible"] for each in logs] == ([possible] if possible < wanted else [])
