"""Which retries are admitted: each within its bounds, and none that could never have an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.admission_fields import range_errors, within, wrong
from domain.admission_statuses import covering, covers, normal_statuses, status_errors
from domain.definition import RETRYABLE, OneOff, RetryPolicy
from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.definition import Definition, SuccessPolicy
    from domain.errors import FieldError

LONGEST_INITIAL_DELAY = 86_400
USUAL_MULTIPLIER = RetryPolicy().multiplier

_BOUNDS = {
    "max_attempts": (1, 100),
    "initial_delay_seconds": (0, LONGEST_INITIAL_DELAY),
    "multiplier": (1, 10),
    "max_delay_seconds": (0, 604_800),
    "max_elapsed_seconds": (1, 31_536_000),
    "max_retry_after_seconds": (0, 86_400),
    "disable_after_failures": (1, 1_000),
}


def retry_errors(definition: Definition) -> Iterator[FieldError]:
    """What is wrong with how often, when and upon what a task's calls are repeated."""
    retry = definition.retry
    for name, (least, most) in _BOUNDS.items():
        yield from range_errors(("retry", name), getattr(retry, name), least, most)
    yield from _delay_errors(retry)
    if retry.disable_after_failures is not None and isinstance(definition.trigger, OneOff):
        detail = "A one-off has one occurrence, after which nothing is left to pause: leave it out."
        if within(retry.disable_after_failures, *_BOUNDS["disable_after_failures"]):
            yield wrong("retry", "disable_after_failures", detail=detail)
    misspelt = [
        *status_errors(("retry", "statuses"), retry.statuses),
        *status_errors(("retry", "final_statuses"), retry.final_statuses),
    ]
    yield from misspelt or _status_contradictions(definition)


def normal_retry(retry: RetryPolicy) -> RetryPolicy:
    """An admissible policy as it is stored: each status once, classes in lower case."""
    return replace(
        retry,
        statuses=normal_statuses(retry.statuses),
        final_statuses=normal_statuses(retry.final_statuses),
    )


def _delay_errors(retry: RetryPolicy) -> Iterator[FieldError]:
    initial, longest, elapsed = (
        retry.initial_delay_seconds,
        retry.max_delay_seconds,
        retry.max_elapsed_seconds,
    )
    if not 0 <= initial <= LONGEST_INITIAL_DELAY:
        return
    if 0 <= longest < initial:
        detail = (
            f"max_delay_seconds {shown(longest)} is less than initial_delay_seconds; give at least {initial}."
        )
        yield wrong("retry", "max_delay_seconds", detail=detail)
    if elapsed is not None and 1 <= elapsed < initial and retry.max_attempts > 1:
        detail = (
            f"max_elapsed_seconds {shown(elapsed)} is less than initial_delay_seconds, so that no second "
            f"attempt would ever begin; give at least {initial}, or max_attempts 1."
        )
        yield wrong("retry", "max_elapsed_seconds", detail=detail)
    if (
        retry.backoff != "exponential"
        and retry.multiplier != USUAL_MULTIPLIER
        and 1 <= retry.multiplier <= 10
    ):
        detail = (
            f'multiplier has no effect with backoff "{retry.backoff}": leave it out, '
            'or give backoff "exponential".'
        )
        yield wrong("retry", "multiplier", detail=detail)


def _status_contradictions(definition: Definition) -> Iterator[FieldError]:
    statuses = normal_statuses(definition.retry.statuses)
    # The usual list is nobody's statement about each of its members: what stands beside it makes exceptions.
    written = () if statuses == RETRYABLE else statuses
    if not written and not definition.retry.final_statuses:
        return
    if definition.delivery == "at_most_once":
        yield from _never_sent_again(definition.retry, written)
        return
    for place, entry in enumerate(definition.retry.statuses if written else ()):
        if detail := _never_repeated(entry.lower(), definition):
            yield wrong("retry", "statuses", str(place), detail=detail)
    repeated = (*statuses, *_admitted_in_vain(definition.success))
    for place, entry in enumerate(definition.retry.final_statuses):
        if detail := _never_final(entry.lower(), written, repeated):
            yield wrong("retry", "final_statuses", str(place), detail=detail)


def _admitted_in_vain(success: SuccessPolicy) -> tuple[str, ...]:
    """What is tried again although it is a success by its status, when the body lacks what is asked for."""
    if success.body_contains is None and success.json is None:
        return ()
    return normal_statuses(success.statuses)


def _never_sent_again(retry: RetryPolicy, written: tuple[str, ...]) -> Iterator[FieldError]:
    for name, given in (("statuses", written), ("final_statuses", retry.final_statuses)):
        if given:
            detail = (
                'With delivery "at_most_once" a request that was answered is never sent again: '
                f'leave {name} out, or give delivery "at_least_once".'
            )
            yield wrong("retry", name, detail=detail)


def _never_repeated(entry: str, definition: Definition) -> str | None:
    admitted = covering(normal_statuses(definition.success.statuses), entry)
    if admitted:
        return (
            f"{shown(entry)} is a success ({shown(admitted)} is in success.statuses) and is not tried again: "
            "take it out of one of the two."
        )
    if entry == "410" and definition.retry.on_gone == "stop":
        return (
            'A 410 is not tried again while on_gone is "stop": leave "410" out, or give retry.on_gone "fail".'
        )
    return None


def _never_final(entry: str, written: tuple[str, ...], repeated: tuple[str, ...]) -> str | None:
    if contested := [other for other in written if covers(entry, other)]:
        return (
            f"{shown(entry)} is never tried again, but retry.statuses has {shown(contested[0])}: "
            "take it out of one of the two."
        )
    if any(covers(entry, other) or covers(other, entry) for other in repeated):
        return None
    return f"{shown(entry)} is not tried again anyway, as retry.statuses does not have it: leave it out."
