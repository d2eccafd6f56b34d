"""Fixtures of the unit tests."""

import pytest

from tests.support.scheduler import World


@pytest.fixture
def world() -> World:
    """A log, a clock and a target that have seen nothing yet."""
    return World()
