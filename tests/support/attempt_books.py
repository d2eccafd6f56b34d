"""Whether each attempt was made, repeated and judged as the policies of its task ask for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from domain.facts import (
    Answered,
    AttemptFailed,
    AttemptStarted,
    ExecutionFailed,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
)
from tests.support.tolerances import LATE_RETRY

if TYPE_CHECKING:
    from uuid import UUID

    from application.ports import Recorded
    from domain.definition import Definition
    from domain.facts import Answer, Attempt
    from tests.support.books import Ledger

SPREAD = {"none": (1.0, 1.0), "slight": (0.9, 1.1), "full": (0.0, 1.0)}
MOST_LOST = 5
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Going:
    """An execution that is not over; `retry_at` None: an attempt of it was claimed."""

    began_at: datetime
    number: int = 1
    lost: int = 0
    sent: bool = False
    retry_at: datetime | None = None

    def too_late(self, definition: Definition, instant: datetime) -> bool:
        """Whether an attempt at an instant would be later than the policy allows."""
        most = definition.retry.max_elapsed_seconds
        return most is not None and instant > self.began_at + timedelta(seconds=most)


@dataclass
class Attempts:
    """What goes on, by the log alone."""

    going: dict[UUID, Going] = field(default_factory=dict)

    def read(self, event: Recorded, ledger: Ledger) -> None:
        """Follow one event, before the ledger does."""
        fact, stream = event.fact, event.stream
        match fact:
            case ExecutionStarted():
                self.going[stream] = Going(max(fact.at, fact.occurrence.send_at))
            case AttemptFailed():
                self.going[stream] = _failed(
                    self.going[stream], fact, ledger.called(stream, fact.attempt.number)
                )
            case AttemptStarted():
                definition = ledger.definitions[fact.task_id, fact.task_version]
                self.going[stream] = _started(self.going[stream], fact, definition)
            case ExecutionTakenOver():
                definition = ledger.definitions[fact.task_id, fact.task_version]
                self.going[stream] = _taken_over(self.going[stream], fact, definition)
            case ExecutionSucceeded(attempt=attempt):
                assert attempt.number == self.going[stream].number
                definition = ledger.called(stream, attempt.number)
                assert _admitted(definition, attempt.answer)
                assert _satisfied(definition, attempt.answer)
            case ExecutionFailed(attempt=None):
                _check_given_up(self.going[stream], fact, ledger.current(fact.task_id))
            case ExecutionFailed(attempt=attempt):
                assert attempt is not None
                _check_final(self.going[stream], fact, attempt, ledger.called(stream, attempt.number))
            case _:
                pass


def _failed(going: Going, fact: AttemptFailed, definition: Definition) -> Going:
    attempt, policy = fact.attempt, definition.retry
    made = attempt.number - going.lost
    sent = going.sent or _may_have_been_sent(attempt.answer)
    assert attempt.number == going.number
    assert made < policy.max_attempts, "one attempt too many"
    assert _worth_repeating(definition, attempt.answer), f"not worth it: {fact}"
    assert (fact.unmet is not None) == _admitted(definition, attempt.answer)
    assert definition.delivery == "at_least_once" or not sent, "at most once"
    assert not going.too_late(definition, fact.retry_at)
    _check_delay(fact, made, definition)
    return replace(going, sent=sent, retry_at=fact.retry_at)


def _check_delay(fact: AttemptFailed, made: int, definition: Definition) -> None:
    policy = definition.retry
    growth = {"fixed": 1.0, "linear": made, "exponential": policy.multiplier ** (made - 1)}[policy.backoff]
    planned = min(policy.initial_delay_seconds * growth, policy.max_delay_seconds)
    wait = min(_asked_for(fact.attempt.answer, fact.at), policy.max_retry_after_seconds)
    least, most = (fact.at + timedelta(seconds=max(wait, planned * share)) for share in SPREAD[policy.jitter])
    assert least - _MILLISECOND <= fact.retry_at <= most + _MILLISECOND, f"not by the backoff: {fact}"


def _asked_for(answer: Answer, now: datetime) -> float:
    value = answer.headers.get("retry-after", "0") if isinstance(answer, Answered) else "0"
    if value.isdigit():
        return float(value)
    return (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds()


def _started(going: Going, fact: AttemptStarted, definition: Definition) -> Going:
    if going.retry_at is None:  # renewed, unsent
        assert fact.number == going.number
        return going
    assert fact.number == going.number + 1
    assert definition.delivery == "at_least_once" or not going.sent, "at most once"
    assert not going.too_late(definition, fact.at - LATE_RETRY), "later than max_elapsed_seconds"
    return replace(going, number=fact.number, retry_at=None)


def _taken_over(going: Going, fact: ExecutionTakenOver, definition: Definition) -> Going:
    assert fact.number == going.number + 1
    assert definition.delivery == "at_least_once", "what may have been sent is sent again"
    assert going.lost < MOST_LOST
    assert not going.too_late(definition, fact.at), "later than max_elapsed_seconds"
    return replace(going, number=fact.number, lost=going.lost + 1, sent=True)


def _check_given_up(going: Going, fact: ExecutionFailed, definition: Definition) -> None:
    """What lapsed was not sent, and was no first attempt."""
    once = definition.delivery == "at_most_once"
    too_late = going.too_late(definition, max(fact.at, going.retry_at or fact.at))
    if not fact.lapsed:
        assert going.retry_at is None
        assert once or too_late or going.lost >= MOST_LOST, f"for no reason: {fact}"
    else:
        further = going.retry_at is not None or going.number > 1
        assert (once and going.sent) or (further and too_late), f"for no reason: {fact}"


def _check_final(going: Going, fact: ExecutionFailed, attempt: Attempt, definition: Definition) -> None:
    answer, made = attempt.answer, attempt.number - going.lost
    sent = going.sent or _may_have_been_sent(answer)
    admitted = _admitted(definition, answer)
    assert attempt.number == going.number
    assert not (admitted and _satisfied(definition, answer))
    assert (fact.unmet is not None) == admitted
    hopeless = not _worth_repeating(definition, answer) or made >= definition.retry.max_attempts
    once = definition.delivery == "at_most_once" and sent
    latest = fact.at + timedelta(seconds=2 * definition.retry.max_delay_seconds + 3_600)
    assert hopeless or once or going.too_late(definition, latest), f"for no reason: {fact}"


def _may_have_been_sent(answer: Answer) -> bool:
    return isinstance(answer, Answered) or answer.sent


def _listed(patterns: tuple[str, ...], status: int) -> bool:
    return any(each in (str(status), f"{str(status)[0]}xx") for each in patterns)


def _admitted(definition: Definition, answer: Answer) -> bool:
    return isinstance(answer, Answered) and _listed(definition.success.statuses, answer.status_code)


def _satisfied(definition: Definition, answer: Answer) -> bool:
    """By the only conditions that users of these worlds have."""
    assert isinstance(answer, Answered)
    contains, condition = definition.success.body_contains, definition.success.json
    if contains is not None and contains not in answer.body:
        return False
    if condition is None:
        return True
    whole = answer.body.startswith("{") and not answer.truncated
    return whole and json.loads(answer.body).get(condition.pointer[1:]) is condition.equals


def _worth_repeating(definition: Definition, answer: Answer) -> bool:
    policy = definition.retry
    if not isinstance(answer, Answered):
        return answer.retryable
    status, admitted = answer.status_code, _admitted(definition, answer)
    if status == 410 and policy.on_gone == "stop" and not admitted:
        return False
    if _listed(policy.final_statuses, status):
        return False
    return admitted or _listed(policy.statuses, status)
