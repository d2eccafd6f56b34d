"""The rules that hold for every task; those that are a task's own choice are in `policies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.explanation import wording
from application.explanation.account import Rule

if TYPE_CHECKING:
    from domain.definition import Trigger

LIFECYCLE = Rule(name="lifecycle", text="A task fires from its creation until it is cancelled or completed.")
ONE_CLAIM = Rule(
    name="claim",
    text="An occurrence starts by one claim: the log takes it once, and only from the task as it then is.",
)
CHANGED_FIRST = Rule(
    name="change_before_send",
    text="A change of the task that is in the log before a call is sent decides about that call.",
)
REQUEST = Rule(
    name="request",
    text="A run that was asked for is claimed by the first scheduler that sees it; the schedule stays.",
)
NO_FURTHER_ATTEMPT = Rule(name="cancel", text="Nothing more is sent for what is cancelled.")
ROOM = Rule(
    name="concurrency",
    text="A scheduler makes so many calls at a time, in all and to one host; what is claimed beyond waits.",
)
ACCOUNTING = Rule(
    name="accounting",
    text="Every occurrence is recorded in its order, with what came of it or why it did not run.",
)
READING = Rule(
    name="reading", text="This release tells what it knows; later releases may write further events."
)


def scheduled_by(trigger: Trigger) -> Rule:
    """The schedule that an instant is, or is not, an occurrence of."""
    return Rule(name="schedule", text=wording.schedule(trigger))
