"""Which conditions of success are admitted, and how they are stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from domain.admission_fields import wrong
from domain.admission_statuses import normal_statuses, status_errors
from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.definition import Definition, SuccessPolicy
    from domain.errors import FieldError

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
    """An admissible policy as it is stored: each status once, classes in lower case."""
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
