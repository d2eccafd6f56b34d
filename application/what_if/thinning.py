"""Of what was answered, only what decisions of a simulation look at: answers may be large, and are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.attempt import Answered, Attempt
from domain.facts import AttemptFailed, ExecutionFailed, ExecutionSucceeded

if TYPE_CHECKING:
    from application.ports import Recorded

_LOOKED_AT = "retry-after"


def thinned(event: Recorded, *, bodies: bool) -> Recorded:
    """The event with no header but Retry-After, and with its body only where `bodies` are looked at."""
    match event.fact:
        case (
            AttemptFailed(attempt=Attempt(answer=Answered() as answer) as attempt)
            | ExecutionFailed(attempt=Attempt(answer=Answered() as answer) as attempt)
            | ExecutionSucceeded(attempt=Attempt(answer=Answered() as answer) as attempt)
        ) as fact:
            headers = {name: value for name, value in answer.headers.items() if name == _LOOKED_AT}
            thin = replace(answer, headers=headers, body=answer.body if bodies else "")
            return replace(event, fact=replace(fact, attempt=replace(attempt, answer=thin)))
        case _:
            return event


def body_length(event: Recorded) -> int:
    """How many characters the event has of a body."""
    match event.fact:
        case (
            AttemptFailed(attempt=Attempt(answer=Answered(body=body)))
            | ExecutionFailed(attempt=Attempt(answer=Answered(body=body)))
            | ExecutionSucceeded(attempt=Attempt(answer=Answered(body=body)))
        ):
            return len(body)
        case _:
            return 0
