"""Which policies are valid, and the errors for those that are not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.definition import (
    FIRST_PRIORITY,
    LAST_PRIORITY,
    RETRYABLE,
    Definition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.errors import FieldError, pointer, shown
from domain.overlap import USUAL_QUEUED


def wrong(*names: str, detail: str) -> FieldError:
    """The error at a member of the body."""
    return FieldError(pointer=pointer(*names), detail=detail)


def range_errors(
    names: tuple[str, ...], value: float | None, least: float, most: float
) -> Sequence[FieldError]:
    """An error unless the value is left out or within the bounds, both included."""
    if within(value, least, most):
        return ()
    detail = f"{names[-1]} {shown(value)} is out of range; give {least} to {most}."
    return [wrong(*names, detail=detail)]


def within(value: float | None, least: float, most: float) -> bool:
    """Whether the value is left out, or within the bounds, both included."""
    return value is None or least <= value <= most


LONGEST_WINDOW_SECONDS = 31_536_000  # a year
MOST_CAUGHT_UP = 1_000
MOST_RUNNING = 100
MOST_QUEUED = 1_000


def policy_errors(definition: Definition) -> Iterator[FieldError]:
    """What is wrong with the policies, and what could never have an effect beside the others."""
    yield from _catch_up_errors(definition)
    yield from _overlap_errors(definition)
    yield from range_errors(("priority",), definition.priority, FIRST_PRIORITY, LAST_PRIORITY)


def normal_overlap(overlap: Overlap) -> Overlap:
    """A valid policy as it is stored: the limits of its mode are explicit, the others are null."""
    if overlap.mode == "allow":
        return overlap
    running = 1 if overlap.max_running is None else overlap.max_running
    queued = (
        USUAL_QUEUED if overlap.mode == "queue_all" and overlap.max_queued is None else overlap.max_queued
    )
    return replace(overlap, max_running=running, max_queued=queued)


def _catch_up_errors(definition: Definition) -> Iterator[FieldError]:
    catch_up, overlap = definition.catch_up, definition.overlap
    if catch_up.max_runs is not None and catch_up.mode != "all":
        detail = 'max_runs bounds the mode "all" only: leave it out, or give catch_up.mode "all".'
        yield wrong("catch_up", "max_runs", detail=detail)
    else:
        yield from range_errors(("catch_up", "max_runs"), catch_up.max_runs, 1, MOST_CAUGHT_UP)
    if catch_up.window_seconds is not None and catch_up.mode == "skip":
        detail = (
            'With mode "skip" nothing late runs: leave window_seconds out, or give catch_up.mode "latest".'
        )
        yield wrong("catch_up", "window_seconds", detail=detail)
    else:
        where = ("catch_up", "window_seconds")
        yield from range_errors(where, catch_up.window_seconds, 1, LONGEST_WINDOW_SECONDS)
    if catch_up.mode == "all" and isinstance(definition.trigger, OneOff):
        detail = 'A one-off has one occurrence: give mode "latest" (it runs late), or "skip" (it does not).'
        yield wrong("catch_up", "mode", detail=detail)
    elif catch_up.mode == "all" and overlap.mode not in ("allow", "queue_all"):
        detail = (
            f'overlap.mode "{overlap.mode}" would skip or cut off most of what the mode "all" catches up: '
            'give overlap.mode "queue_all" or "allow".'
        )
        yield wrong("catch_up", "mode", detail=detail)


def _overlap_errors(definition: Definition) -> Iterator[FieldError]:
    overlap = definition.overlap
    if overlap.max_running is not None and overlap.mode == "allow":
        detail = 'The mode "allow" has no bound: leave max_running out, or give another mode.'
        yield wrong("overlap", "max_running", detail=detail)
    else:
        yield from range_errors(("overlap", "max_running"), overlap.max_running, 1, MOST_RUNNING)
    if overlap.max_queued is not None and overlap.mode != "queue_all":
        detail = (
            'max_queued bounds the mode "queue_all" only: leave it out, or give overlap.mode "queue_all".'
        )
        yield wrong("overlap", "max_queued", detail=detail)
    else:
        yield from range_errors(("overlap", "max_queued"), overlap.max_queued, 1, MOST_QUEUED)
    if isinstance(definition.trigger, OneOff):
        yield from _lonely_overlap(overlap)


def _lonely_overlap(overlap: Overlap) -> Iterator[FieldError]:
    """A one-off may have the default mode, or none, as those of older releases do."""
    detail = "A one-off has one occurrence, which overlaps none: leave {name} out."
    if overlap.mode not in ("allow", "skip"):
        yield wrong("overlap", "mode", detail=detail.format(name="overlap"))
    elif overlap.mode == "skip" and 2 <= (overlap.max_running or 1) <= MOST_RUNNING:
        yield wrong("overlap", "max_running", detail=detail.format(name="max_running"))


MOST_STATUSES = 50

_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")


def status_errors(names: tuple[str, ...], given: Sequence[str]) -> Iterator[FieldError]:
    """What is wrong with a list of statuses, one error an entry."""
    if len(given) > MOST_STATUSES:
        detail = f"There are {len(given)} statuses; give at most {MOST_STATUSES}, or classes such as 5xx."
        yield wrong(*names, detail=detail)
        return
    for place, entry in enumerate(given):
        if not _STATUS.fullmatch(entry.lower()):
            detail = f"{shown(entry)} is not a status; give 100 to 599, or a class such as 5xx."
            yield wrong(*names, str(place), detail=detail)


def normal_statuses(given: Sequence[str]) -> tuple[str, ...]:
    """A valid list as it is stored: classes in lower case, each entry once, in the order given."""
    return tuple(dict.fromkeys(map(str.lower, given)))


def covers(wide: str, narrow: str) -> bool:
    """Whether every status of the second entry is one of the first."""
    return wide == narrow or (wide.endswith("xx") and narrow.startswith(wide[0]))


def covering(entries: Sequence[str], narrow: str) -> str | None:
    """The first entry that covers another one."""
    return next((wide for wide in entries if covers(wide, narrow)), None)


LONGEST_INITIAL_DELAY = 86_400
USUAL_MULTIPLIER = RetryPolicy().multiplier

RETRY_BOUNDS = {
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
    for name, (least, most) in RETRY_BOUNDS.items():
        yield from range_errors(("retry", name), getattr(retry, name), least, most)
    yield from _delay_errors(retry)
    if retry.disable_after_failures is not None and isinstance(definition.trigger, OneOff):
        detail = "A one-off has one occurrence, after which nothing is left to pause: leave it out."
        if within(retry.disable_after_failures, *RETRY_BOUNDS["disable_after_failures"]):
            yield wrong("retry", "disable_after_failures", detail=detail)
    misspelt = [
        *status_errors(("retry", "statuses"), retry.statuses),
        *status_errors(("retry", "final_statuses"), retry.final_statuses),
    ]
    yield from misspelt or _status_contradictions(definition)


def normal_retry(retry: RetryPolicy) -> RetryPolicy:
    """A valid policy as it is stored: each status once, classes in lower case."""
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


LONGEST_CONDITION = 1_000

# RFC 9110, 15.3.5, 15.3.6 and 15.4.5: answers that never have a body.
_BODILESS = {"204", "205", "304"}
# RFC 6901, 3.
_JSON_POINTER = re.compile(r"(?:/(?:[^/~]|~[01])*)*")


def success_errors(definition: Definition) -> Iterator[FieldError]:
    """What is wrong with the conditions, and what no answer could ever meet."""
    success = definition.success
    if not success.statuses:
        yield wrong("success", "statuses", detail="Nothing could ever succeed: give at least one status.")
    yield from status_errors(("success", "statuses"), success.statuses)
    no_body = _why_no_body(definition)
    if success.body_contains is not None and (advice := no_body or _text_advice(success.body_contains)):
        yield wrong("success", "body_contains", detail=advice)
    if success.json is None:
        return
    if no_body:
        yield wrong("success", "json", detail=no_body)
    if advice := _pointer_advice(success.json.pointer):
        yield wrong("success", "json", "pointer", detail=advice)
    if not _storable(success.json.equals):
        detail = "The value is not JSON, or nested too deeply; compare with a simpler one."
        yield wrong("success", "json", "equals", detail=detail)


def normal_success(success: SuccessPolicy) -> SuccessPolicy:
    """A valid policy as it is stored: each status once, classes in lower case."""
    return replace(success, statuses=normal_statuses(success.statuses))


def _why_no_body(definition: Definition) -> str | None:
    """Why no answer could ever meet a condition on its body."""
    if definition.action.method.upper() == "HEAD":
        return "An answer to HEAD has no body: leave it out, or give another method."
    admitted = normal_statuses(definition.success.statuses)
    if admitted and set(admitted) <= _BODILESS:
        named = " or ".join(admitted)
        return f"Answers with status {named} have no body: leave it out, or admit other statuses."
    return None


def _text_advice(text: str) -> str | None:
    if not 1 <= len(text) <= LONGEST_CONDITION:
        return f"body_contains has {len(text)} characters; give 1 to {LONGEST_CONDITION:,}."
    if not _storable(text):
        return "body_contains has half a surrogate pair in it; leave that out."
    return None


def _pointer_advice(text: str) -> str | None:
    if len(text) > LONGEST_CONDITION:
        return f"The pointer has {len(text)} characters; give at most {LONGEST_CONDITION:,}."
    if not _JSON_POINTER.fullmatch(text) or not _storable(text):
        return (
            f"{shown(text)} is not a JSON pointer (RFC 6901): give one such as /data/state, with ~0 for ~ "
            "and ~1 for / in a name, or an empty one for the whole body."
        )
    return None


def _storable(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True
