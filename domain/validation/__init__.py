"""Which definitions are valid: every rule is checked, and every broken one is named at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.definition import Definition, Trigger
from domain.errors import ValidationFailed, shown, unprintable
from domain.validation.action import action_errors, normal_action
from domain.validation.policies import (
    normal_overlap,
    normal_retry,
    normal_success,
    policy_errors,
    retry_errors,
    success_errors,
    wrong,
)
from domain.validation.trigger import judged_trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from domain.errors import FieldError

LONGEST_NAME = 255


def validate(definition: Definition, now: datetime, *, current: Trigger | None = None) -> Definition:
    """The definition in normal form, or `ValidationFailed` with all its errors.

    Normal form: instants in UTC, cut to milliseconds (without an offset they are read as local time of the
    zone, as `local_time.real_time` does); an interval's anchor explicit; single blanks in a cron; the method
    in upper case; header values without surrounding blanks; each status once, as "503" or "5xx"; the bounds
    of an overlap explicit. Admitting it again changes nothing.

    `current` is the trigger of the task that the definition replaces: left as it is, it may lie in the past.
    """
    trigger, trigger_errors = judged_trigger(definition.trigger, now, current)
    errors = [
        *_name_errors(definition.name),
        *trigger_errors,
        *action_errors(definition.action),
        *retry_errors(definition),
        *success_errors(definition),
        *policy_errors(definition),
    ]
    if errors:
        raise ValidationFailed(errors)
    return replace(
        definition,
        trigger=trigger,
        action=normal_action(definition.action),
        retry=normal_retry(definition.retry),
        success=normal_success(definition.success),
        overlap=normal_overlap(definition.overlap),
    )


def _name_errors(name: str) -> Iterator[FieldError]:
    if not name.strip():
        yield wrong("name", detail="The name is blank; give 1 to 255 characters.")
    elif len(name) > LONGEST_NAME:
        yield wrong("name", detail=f"The name has {len(name)} characters; give at most 255.")
    elif strange := unprintable(name):
        detail = f"The name contains the character {shown(strange)}; leave out control characters."
        yield wrong("name", detail=detail)
