"""Equal policies of many tasks are one object in memory."""

import msgspec
import pytest

from application.scheduler.index import shared
from domain.definition import CatchUp, Definition, JsonCondition, Overlap, RetryPolicy, SuccessPolicy
from tests.support.given import definition


def stored(one: Definition) -> Definition:
    """As it comes from the database: with nothing of another one's."""
    return msgspec.json.decode(msgspec.json.encode(one), type=Definition)


POLICIES = {
    "retry": RetryPolicy(max_attempts=7, statuses=("503",)),
    "success": SuccessPolicy(statuses=("200",), body_contains="ok"),
    "catch_up": CatchUp(mode="all", max_runs=3),
    "overlap": Overlap(mode="skip", max_running=1),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_policies_are_one(policy: str) -> None:
    like = msgspec.structs.replace(definition(), **POLICIES)
    first, second = shared(stored(like)), shared(stored(like))
    assert getattr(first, policy) is getattr(second, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_others_stay_their_own(policy: str) -> None:
    usual, special = definition(), msgspec.structs.replace(definition(), **{policy: POLICIES[policy]})
    assert getattr(shared(usual), policy) is not getattr(shared(special), policy)


def test_a_definition_equals_what_it_was() -> None:
    for one in (definition(), msgspec.structs.replace(definition(), **POLICIES)):
        assert shared(one) == one


def test_a_condition_on_a_list_is_kept_as_it_is() -> None:
    success = SuccessPolicy(json=JsonCondition(pointer="/states", equals=["up", {"since": 1}]))
    one = msgspec.structs.replace(definition(), success=success)
    assert shared(one).success is success
