"""Who is taken for dead, and when: by beats that stand still, whatever the clocks of machines say."""

from datetime import datetime, timedelta

import pytest

from application.ports import Beat
from application.scheduler.membership import SETTLED_AFTER, Liveness
from tests.support.given import NOON, after


def look(liveness: Liveness, beats: dict[str, datetime], *seconds: float) -> None:
    for second in seconds:
        seen = {node: Beat(at, after(second) - at, claims=True) for node, at in beats.items()}
        liveness.look(seen, timedelta(seconds=second))


@pytest.fixture
def liveness() -> Liveness:
    return Liveness(timedelta(seconds=6))


def test_a_node_that_nobody_knows_has_left(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0)
    assert liveness.dead("node-2")
    assert liveness.silent("node-2")
    assert not liveness.dead("node-1")


def test_a_node_that_beats_again_was_not_dead(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, *range(7))
    assert liveness.dead("node-1")
    look(liveness, {"node-1": after(7)}, 7)
    assert not liveness.dead("node-1")


def test_a_node_is_not_counted_on_after_half_of_its_time(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0, 1, 2)
    assert not liveness.silent("node-1")
    look(liveness, {"node-1": NOON}, 3)
    assert liveness.silent("node-1")
    assert not liveness.dead("node-1")


def test_a_beat_that_is_old_when_it_is_first_seen_is_given_half_of_its_time(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 60)
    assert liveness.silent("node-1")
    look(liveness, {"node-1": NOON}, 61, 62)
    assert not liveness.dead("node-1")
    look(liveness, {"node-1": NOON}, 63)
    assert liveness.dead("node-1")


def test_the_time_of_an_outage_kills_nobody(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0, 1, 300)
    assert not liveness.dead("node-1")
    look(liveness, {"node-1": NOON}, *range(301, 304))
    assert liveness.dead("node-1")


def test_leases_are_judged_after_ten_seconds_of_watching(liveness: Liveness) -> None:
    assert not liveness.settled(timedelta())
    look(liveness, {}, 0)
    assert not liveness.settled(SETTLED_AFTER - timedelta(seconds=1))
    assert liveness.settled(SETTLED_AFTER)
    liveness.lose_sight()
    assert not liveness.settled(timedelta(hours=1))


def test_a_beat_is_as_old_as_the_database_says_when_it_is_first_seen(liveness: Liveness) -> None:
    look(liveness, {"node-1": NOON}, 0)
    look(liveness, {"node-1": after(0.6)}, 1)
    look(liveness, {"node-1": after(0.6)}, *range(2, 7))
    assert not liveness.dead("node-1")
    look(liveness, {"node-1": after(0.6)}, 6.2)
    assert liveness.dead("node-1")
