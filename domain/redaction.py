"""Erasing what tasks and calls held of people's data, so that the log still proves the rest.

Erased are payloads, the values of headers, queries and users of URLs, bodies, what success is told by, and
what people or servers said in free text. Names, instants, statuses and durations stay. What is erased reads
as `[redacted]`; what was not there stays so, and erasing twice is erasing once.

The stored state of an event is replaced by one whose fact is `erased`. It ends with the SHA-256 of the
original, which is what was sealed of the event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import get_args
from uuid import UUID

from msgspec.structs import replace

from domain.definition import Action, Definition, JsonCondition, SuccessPolicy
from domain.errors import TaskNotOver
from domain.facts import (
    Answer,
    Answered,
    AnyFact,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    TaskCreated,
    TaskPaused,
    TaskRedacted,
    TaskUpdated,
)
from domain.requesting import NOTED
from domain.task import FinishedTask, Paused, Task, check_version

MARK = "[redacted]"
"""What stands where something was erased."""

MARKED_QUERY = "redacted"
"""The same within a URL, where brackets may not stand."""

MOST_REWRITTEN = 200
"""Events that one fact tells of, at most."""

MOST_BYTES_REWRITTEN = 2 * 1024 * 1024
"""Of their states, as they were; one event may have more. Nothing is appended while they are replaced."""

type Claim = ExecutionStarted | ExecutionQueued | AttemptStarted | ExecutionTakenOver
_CLAIMS = get_args(Claim.__value__)
_TOLD_BY_THEMSELVES = (TaskRedacted, EventsRedacted, *_CLAIMS)

_URL = re.compile(r"(?P<scheme>[^/?#]*//)?(?P<user>[^/?#]*@)?(?P<rest>[^?#]*)(?P<query>[?#].*)?", re.DOTALL)


def redact(task: Task, now: datetime, expected_version: int | None) -> TaskRedacted:
    """What tells that all of a task is erased. Raises `TaskNotOver` and `VersionMismatch`."""
    check_version(task, expected_version)
    if not isinstance(task, FinishedTask):
        raise TaskNotOver(task.id, "paused" if isinstance(task, Paused) else "scheduled")
    return TaskRedacted(at=now)


def holds_something(fact: AnyFact) -> bool:
    """Whether an event may hold what is to be erased, or was appended together with one that does."""
    return not isinstance(fact, _TOLD_BY_THEMSELVES)


def erased(fact: AnyFact) -> AnyFact:
    """The fact without what is to be erased; the same one, when it holds nothing of that."""
    match fact:
        case TaskCreated() | TaskUpdated():
            return replace(fact, definition=erased_definition(fact.definition))
        case TaskPaused():
            return replace(fact, note=erased_text(fact.note))
        case ExecutionSucceeded():
            return replace(fact, attempt=_erased_attempt(fact.attempt))
        case AttemptFailed():
            return replace(fact, attempt=_erased_attempt(fact.attempt), unmet=erased_text(fact.unmet))
        case ExecutionFailed():
            attempt = None if fact.attempt is None else _erased_attempt(fact.attempt)
            return replace(fact, attempt=attempt, unmet=erased_text(fact.unmet))
        case ExecutionCancelled():
            return replace(fact, reason=erased_cancellation(fact.reason))
        case IdempotencyKeyUsed(execution_id=None):
            # The hash of a short body would tell it to whoever guesses.
            return replace(fact, digest=erased_text(fact.digest))
        case _:
            return fact


def tasks_of(use: IdempotencyKeyUsed) -> set[UUID]:
    """The tasks that a key stands for, or whose executions."""
    return {use.task_id, *filter(None, use.task_ids)}


def erased_definition(definition: Definition) -> Definition:
    """What it calls, and when; not with what."""
    return replace(
        definition, action=_erased_action(definition.action), success=_erased_success(definition.success)
    )


def _erased_action(action: Action) -> Action:
    return replace(
        action,
        url=erased_url(action.url),
        headers=erased_values(action.headers),
        payload=None if action.payload is None else MARK,
    )


def _erased_success(success: SuccessPolicy) -> SuccessPolicy:
    return replace(
        success,
        body_contains=erased_text(success.body_contains),
        json=None if success.json is None else JsonCondition(pointer=f"/{MARK}", equals=MARK),
    )


def _erased_attempt(attempt: Attempt) -> Attempt:
    return replace(attempt, answer=_erased_answer(attempt.answer))


def _erased_answer(answer: Answer) -> Answer:
    if isinstance(answer, Answered):
        return replace(answer, headers=erased_values(answer.headers), body=erased_text(answer.body))
    return replace(answer, error=erased_text(answer.error))


def erased_text[T: (str, str | None)](text: T) -> T:
    """The mark for any text; none for none."""
    return MARK if text else text


def erased_values(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names."""
    return dict.fromkeys(headers, MARK)


def erased_url(url: str) -> str:
    """Scheme, host and path of a URL; that there was a user or a query is told."""
    found = _URL.fullmatch(url)
    assert found is not None, "it matches anything"
    user = f"{MARKED_QUERY}@" if found["user"] else ""
    query = f"?{MARKED_QUERY}" if found["query"] else ""
    return f"{found['scheme'] or ''}{user}{found['rest']}{query}"


def erased_cancellation(reason: str) -> str:
    """Why an execution was cancelled, without the words of a user."""
    return NOTED + MARK if reason.startswith(NOTED) else reason


# The last member of a rewritten state is `"redacted":{"sha256":"…"}`; any other state ends with its fact.
_MEMBER = b',"redacted":{"sha256":"'
_MEMBER_BYTES = len(_MEMBER) + 64 + len(b'"}}')
_HEX = re.compile(rb"[0-9a-f]{64}")


def original_digest(state: bytes) -> bytes | None:
    """The SHA-256 of what a stored state was before it was rewritten; None: it never was."""
    member = state[-_MEMBER_BYTES:]
    digest = member[len(_MEMBER) : -3]
    if not (member.startswith(_MEMBER) and member.endswith(b'"}}') and _HEX.fullmatch(digest)):
        return None
    return bytes.fromhex(digest.decode())
