"""What is erased of facts, what stays, and which rewritten events the log accounts for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given as hypothesis_given
from msgspec.structs import replace

from domain.definition import JsonCondition, SuccessPolicy
from domain.errors import RevisionRedacted, TaskNotOver, VersionMismatch
from domain.facts import (
    Answered,
    AttemptFailed,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSucceeded,
    IdempotencyKeyUsed,
    TaskCreated,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
)
from domain.identity import disguised, redaction_stream
from domain.redaction import (
    erased,
    erased_url,
    holds_something,
    original_digest,
    redact,
)
from domain.rollback import roll_back
from infrastructure.event_store.mapper import decode, encode, encode_redacted
from tests.support.fact_strategies import FACTS, METAS
from tests.support.given import (
    NOON,
    RUN,
    TASK,
    after,
    answered,
    attempt,
    cancelled,
    created,
    definition,
    failed,
    given,
    no_answer,
    queued,
    skipped,
    started,
    started_again,
    taken_over,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Meta
    from domain.facts import AnyFact
    from domain.task import Task

OTHER = UUID(int=7)
DIGEST = hashlib.sha256(b"what was there").digest()


def redacting(if_match: int | None = None) -> Callable[[Task], TaskRedacted]:
    return lambda task: redact(task, after(60), if_match)


def test_a_task_that_is_over_is_redacted() -> None:
    task = given(created(), cancelled(), TaskRedacted(at=after(60)))
    given(created(), cancelled()).when(redacting()).decides(TaskRedacted(at=after(60)))
    assert (task.state.redacted_at, task.state.updated_at, task.state.version) == (after(60), after(60), 3)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ((), "scheduled"),
        ((TaskPaused(at=NOON),), "paused"),
        ((TaskPaused(at=NOON), TaskResumed(at=NOON)), "scheduled"),
    ],
)
def test_a_task_that_goes_on_is_to_be_cancelled_first(facts: tuple[Any, ...], status: str) -> None:
    refusal = given(created(), *facts).when(redacting()).refused(TaskNotOver)
    assert str(refusal) == (
        f"Task {TASK} is {status}: only a task that is over can be redacted; cancel it first."
    )


def test_a_task_that_has_changed_is_not_redacted() -> None:
    given(created(), cancelled()).when(redacting(if_match=1)).refused(VersionMismatch)


def test_nothing_is_rolled_back_to_what_was_erased() -> None:
    task = given(created(), cancelled(), TaskRedacted(at=after(60)))
    refusal = task.when(lambda state: roll_back(state, 1, definition(), NOON, None)).refused(RevisionRedacted)
    assert "Revision 1" in str(refusal)


def told(**words: Any) -> TaskCreated:
    fact = erased(created(**words))
    assert isinstance(fact, TaskCreated)
    return fact


def test_payload_header_values_and_query_of_a_definition_are_erased_and_names_stay() -> None:
    action = replace(
        definition().action,
        url="https://api.example.com/users/7?mail=a@b.c#top",
        headers={"Authorization": "Bearer x", "Accept": ""},
        payload={"mail": "a@b.c"},
    )
    was = definition(name="welcome mail")
    fact = erased(
        TaskCreated(at=NOON, namespace="n", definition=replace(was, action=action), next_run_at=NOON)
    )
    assert isinstance(fact, TaskCreated)
    assert fact.definition == replace(
        was,
        action=replace(
            action,
            url="https://api.example.com/users/7?redacted",
            headers={"Authorization": "[redacted]", "Accept": "[redacted]"},
            payload="[redacted]",
        ),
    )


def test_what_success_is_told_by_is_erased() -> None:
    asked = SuccessPolicy(
        statuses=("201",), body_contains="Anna", json=JsonCondition(pointer="/name", equals="Anna")
    )
    assert told(success=asked).definition.success == SuccessPolicy(
        statuses=("201",),
        body_contains="[redacted]",
        json=JsonCondition(pointer="/[redacted]", equals="[redacted]"),
    )


def test_what_was_not_there_stays_so() -> None:
    assert told() == created()


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("http://host/path", "http://host/path"),
        ("http://anna:secret@host:8080/a?b", "http://redacted@host:8080/a?redacted"),
        ("http://host?q=http://other@x", "http://host?redacted"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host/#anna\n", "http://host/?redacted"),
        ("no url", "no url"),
    ],
)
def test_of_a_url_scheme_host_and_path_stay(url: str, left: str) -> None:
    assert erased_url(url) == left


def test_body_and_header_values_of_an_answer_are_erased() -> None:
    answer = Answered(status_code=200, headers={"set-cookie": "id=7"}, body="Anna", truncated=True)
    marked = replace(answer, headers={"set-cookie": "[redacted]"}, body="[redacted]")
    fact = ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt(1, answer))
    assert erased(fact) == replace(fact, attempt=attempt(1, marked))


def test_an_empty_body_stays_empty() -> None:
    fact = ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt(1, answered(204)))
    assert erased(fact) == fact


def test_why_there_was_no_answer_may_name_where_a_server_has_redirected_to() -> None:
    fact = AttemptFailed(
        at=NOON, task_id=TASK, attempt=attempt(1, no_answer(sent=False)), retry_at=NOON, unmet="the body has…"
    )
    marked = replace(no_answer(sent=False), error="[redacted]")
    assert erased(fact) == replace(fact, attempt=attempt(1, marked), unmet="[redacted]")


def test_why_an_execution_failed_stays_and_what_its_body_lacked_does_not() -> None:
    fact = replace(failed(), unmet='the body has "Anna" at "/name" instead of "Eva"')
    assert erased(fact) == replace(failed(), unmet="[redacted]")
    untold = ExecutionFailed(at=NOON, task_id=TASK, attempt=None, reason="lost")
    assert erased(untold) == untold


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("cancelled by a user: Anna called", "cancelled by a user: [redacted]"),
        ("cancelled by a user", "cancelled by a user"),
        ("the task was cancelled", "the task was cancelled"),
    ],
)
def test_the_words_of_a_user_who_cancels_are_erased(reason: str, left: str) -> None:
    fact = ExecutionCancelled(at=NOON, task_id=TASK, reason=reason)
    assert erased(fact) == replace(fact, reason=left)


def test_the_note_of_a_pause_is_erased() -> None:
    assert erased(TaskPaused(at=NOON, note="Anna is away")) == TaskPaused(at=NOON, note="[redacted]")


def test_a_key_stands_for_a_body_no_more_and_for_a_run_as_before() -> None:
    use = IdempotencyKeyUsed(at=NOON, key="k", namespace="n", task_id=TASK, digest="9f86")
    assert erased(use) == replace(use, digest="[redacted]")
    of_run = replace(use, execution_id=RUN)
    assert erased(of_run) == of_run


@hypothesis_given(fact=FACTS)
def test_erasing_twice_is_erasing_once(fact: AnyFact) -> None:
    once = erased(fact)
    assert type(once) is type(fact)
    assert erased(once) == once
    assert once.at == fact.at


def test_claims_and_what_tells_of_redactions_hold_nothing_to_erase() -> None:
    untouched: list[AnyFact] = [started(), queued(), started_again(), taken_over(), TaskRedacted(at=NOON)]
    assert not any(holds_something(fact) for fact in untouched)
    assert all(holds_something(fact) for fact in (created(), cancelled(), skipped(), failed()))


def test_the_events_of_one_command_still_show_that_they_belong_together() -> None:
    assert disguised(OTHER) == disguised(OTHER) != disguised(TASK)
    assert disguised(OTHER) != OTHER
    assert disguised(OTHER).version == 8


def test_a_redaction_s_stream_lies_beside_its_task() -> None:
    assert redaction_stream(TASK).int >> 80 == TASK.int >> 80
    assert redaction_stream(TASK) not in {TASK, redaction_stream(UUID(int=TASK.int + 1))}


@hypothesis_given(fact=FACTS, who=METAS)
def test_a_rewritten_state_tells_the_digest_of_the_original_and_is_read_as_before(
    fact: AnyFact, who: Meta
) -> None:
    state = encode_redacted(fact, who, DIGEST)
    assert original_digest(state) == DIGEST
    assert (decode(fact.topic, state).fact, decode(fact.topic, state).meta) == (fact, who)
    assert original_digest(encode(fact, who)) is None


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b'{"meta":{},"fact":{"a":1,"redacted":{"sha256":"' + b"0" * 64 + b'"}}}',
        b'{"meta":{},"fact":{},"redacted":{"sha256":"' + b"0" * 63 + b'"}}',
        b'{"meta":{},"fact":{},"redacted":{"sha256":"' + b"G" * 64 + b'"}}',
        b'{"meta":{},"fact":{},"redacted":{"sha256":"' + b"0" * 64 + b'" }',
    ],
)
def test_nothing_else_is_taken_for_a_rewritten_state(state: bytes) -> None:
    assert original_digest(state) is None
