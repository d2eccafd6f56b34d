"""What is known of a task's JSON: the shape of each object in it, the choices, and examples to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from domain.definition import Backoff, CatchUpMode, Delivery, Jitter, OnGone, OverlapMode
from interfaces.http.bodies import (
    BodyValue,
    CatchingUp,
    CronTrigger,
    HttpAction,
    IntervalTrigger,
    OneOffTrigger,
    Overlapping,
    Retry,
    Success,
    TaskDefinition,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Struct

type Names = tuple[str, ...]

SHAPES: Mapping[Names, type[Struct]] = {
    (): TaskDefinition,
    ("action",): HttpAction,
    ("retry",): Retry,
    ("success",): Success,
    ("success", "json"): BodyValue,
    ("catch_up",): CatchingUp,
    ("overlap",): Overlapping,
}
TRIGGERS: Mapping[str, type[Struct]] = {
    "one-off": OneOffTrigger,
    "cron": CronTrigger,
    "interval": IntervalTrigger,
}
OBJECTS: tuple[Names, ...] = ((), ("trigger",), *(names for names in SHAPES if names))
"""The objects of a task, the outer ones first."""

STATUSES = {("retry", "statuses"), ("retry", "final_statuses"), ("success", "statuses")}
INSTANTS = {("trigger", name) for name in ("datetime", "start_at", "end_at", "anchor")}

_INSTANT = '"2030-01-01T12:00:00Z"'
EXAMPLES: Mapping[Names, str] = dict.fromkeys(INSTANTS, _INSTANT) | {
    ("name",): '"Website Health Check"',
    ("trigger",): '{"type": "cron", "cron": "0 9 * * *"}',
    ("trigger", "type"): '"one-off", "cron" or "interval"',
    ("trigger", "cron"): '"0 9 * * *"',
    ("trigger", "every_seconds"): "90",
    ("trigger", "max_runs"): "10",
    ("trigger", "timezone"): '"Europe/Berlin"',
    ("action",): '{"method": "GET", "url": "https://api.example.com/health"}',
    ("action", "method"): '"GET"',
    ("action", "url"): '"https://api.example.com/health"',
    ("action", "headers"): '{"X-API-Key": "your-api-key"}',
    ("action", "connect_timeout_seconds"): "5",
    ("action", "max_redirects"): "3",
    ("retry",): '{"max_attempts": 3}',
    ("retry", "max_elapsed_seconds"): "600",
    ("retry", "statuses"): '["429", "5xx"]',
    ("retry", "final_statuses"): '["501"]',
    ("retry", "disable_after_failures"): "5",
    ("success",): '{"statuses": ["200"]}',
    ("success", "statuses"): '["200", "202"]',
    ("success", "body_contains"): '"OK"',
    ("success", "json"): '{"pointer": "/state", "equals": "done"}',
    ("success", "json", "pointer"): '"/state"',
    ("success", "json", "equals"): '"done"',
    ("catch_up",): '{"mode": "latest"}',
    ("catch_up", "window_seconds"): "3600",
    ("catch_up", "max_runs"): "10",
    ("overlap",): '{"mode": "skip"}',
    ("overlap", "max_running"): "1",
    ("overlap", "max_queued"): "100",
    ("priority",): "5",
}


CHOICES: Mapping[Names, tuple[str, ...]] = {
    ("retry", "backoff"): get_args(Backoff.__value__),
    ("retry", "jitter"): get_args(Jitter.__value__),
    ("retry", "on_gone"): get_args(OnGone.__value__),
    ("catch_up", "mode"): get_args(CatchUpMode.__value__),
    ("overlap", "mode"): get_args(OverlapMode.__value__),
    ("delivery",): get_args(Delivery.__value__),
}
"""The words that a member may be, where it may be no other."""
