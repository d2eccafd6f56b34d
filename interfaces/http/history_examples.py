"""Examples of what the API answers about the past."""

from __future__ import annotations

from typing import Any

_TASK_ID = "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42"
_EVENT = {
    "position": 42,
    "recorded_at": "2029-12-31T09:15:27.432Z",
    "stream": _TASK_ID,
    "version": 2,
    "topic": "task.paused.v1",
    "namespace": "default",
    "actor": "anonymous",
    "correlation_id": "0194f2b1c6d87a3e9f10aa54c1d2e3f4",
    "address": "192.0.2.17",
    "reason": "Planned maintenance, ticket 4711",
    "redacted": False,
    "data": {"at": "2029-12-31T09:15:27.431Z", "note": "The target is being moved."},
}

_REVISION = {
    "number": 2,
    "version": 3,
    "position": 57,
    "at": "2029-12-31T10:01:43.104Z",
    "actor": "anonymous",
    "correlation_id": "0194f2b1c6d87a3e9f10aa54c1d2e3f5",
    "address": "192.0.2.17",
    "reason": None,
    "kind": "updated",
    "rolled_back_to": None,
    "changed": ["trigger", "action"],
}
_DEFINITION = {
    "name": "Website Health Check",
    "trigger": {"type": "cron", "cron": "30 9 * * 1-5", "timezone": "Europe/Berlin"},
    "action": {"method": "GET", "url": "https://api.example.com/health", "timeout_seconds": 5},
}

HISTORY_EXAMPLES: dict[str, Any] = {
    "Event": _EVENT,
    "EventPage": {"items": [_EVENT], "next_after": 42, "more": False},
    "RevisionPage": {"items": [_REVISION], "total": 2, "next_before": 2},
    "Revision": {**_REVISION, "definition": _DEFINITION},
    "Diff": {
        "from": 1,
        "to": 2,
        "changes": [{"pointer": "/trigger/cron", "old": "0 9 * * 1-5", "new": "30 9 * * 1-5"}],
    },
}
