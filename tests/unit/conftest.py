"""Fixtures of the unit tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.http_service import HttpService, http_service
from tests.support.scheduler import World


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    """A new API over a log in memory."""
    async with http_service() as running:
        yield running


@pytest.fixture
def world() -> World:
    """A log, a clock and a target that have seen nothing yet."""
    return World()
