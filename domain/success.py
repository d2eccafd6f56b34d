"""Whether an answer is a success: its status, and what its body must show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from domain.attempt import Answered
from domain.statuses import matches
from domain.wording import printed, shown

if TYPE_CHECKING:
    from domain.attempt import Answer
    from domain.definition import JsonCondition, SuccessPolicy

# RFC 6901 §4: no leading zeros. No body that is kept has a billion members.
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def admits(policy: SuccessPolicy, answer: Answer) -> bool:
    """Whether there is an answer, and its status is among those of a success."""
    return isinstance(answer, Answered) and matches(policy.statuses, answer.status_code)


def unmet(policy: SuccessPolicy, answer: Answer) -> str | None:
    """What the policy asks of an answer whose status it admits, and this one lacks; None: nothing."""
    if not isinstance(answer, Answered) or not admits(policy, answer):
        return None
    if policy.body_contains is not None and policy.body_contains not in answer.body:
        part = "what was kept of the body" if answer.truncated else "the body"
        return f"{part} does not contain {shown(policy.body_contains)}"
    return None if policy.json is None else _unmet_json(policy.json, answer)


def looks_at_bodies(policy: SuccessPolicy) -> bool:
    """Whether more than the status decides."""
    return policy.body_contains is not None or policy.json is not None


def _unmet_json(condition: JsonCondition, answer: Answered) -> str | None:
    if answer.truncated:
        return f"the body is too long to be kept whole: what it has at {shown(condition.pointer)} is unknown"
    try:
        return _compared(condition, msgspec.json.decode(answer.body.removeprefix("\ufeff")))
    except msgspec.DecodeError:
        return "the body is not JSON"
    except RecursionError:
        return "the JSON of the body is nested too deeply to be compared"


def _compared(condition: JsonCondition, document: Any) -> str | None:
    where = shown(condition.pointer)
    try:
        found = member(document, condition.pointer)
    except LookupError:
        return f"the body has nothing at {where}"
    if equal(found, condition.equals):
        return None
    return f"the body has {_told(found)} at {where} instead of {_told(condition.equals)}"


def member(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) names in a decoded document. Raises `LookupError`: nothing."""
    start, *names = pointer.split("/")
    if start:
        raise LookupError(pointer)
    for name in names:
        document = _child(document, name.replace("~1", "/").replace("~0", "~"))
    return document


def _child(parent: Any, name: str) -> Any:
    match parent:
        case dict():
            return parent[name]
        case list() if _INDEX.fullmatch(name):
            return parent[int(name)]
        case _:
            raise LookupError(name)


def equal(one: Any, other: Any) -> bool:
    """Whether two decoded documents are the same JSON value: 1 is 1.0, and true is not 1."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(equal, one, other))
        case (bool(), _) | (_, bool()):
            return one is other
        case _:
            return bool(one == other)


def _told(value: Any) -> str:
    """As JSON, cut: what a server answers may be long, or not for everybody's eyes."""
    return printed(msgspec.json.encode(value).decode())
